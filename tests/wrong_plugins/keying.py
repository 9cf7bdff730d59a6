"""Shares what it asks with all of its class, by a key that does not say whom it asks."""

from pydantic import BaseModel

from flext_plugins import Refused, ServiceName, Stage, hookimpl
from flext_plugins.testing import Answer


class Settings(BaseModel):
    directory: ServiceName


class Wrong:
    rule = "test_two_services_of_one_host_do_not_mix"
    seen = ("each of which names its own 'people', one sent 0 requests there and the other 1",)
    settings = {"directory": "people"}
    services = {"people": lambda received: Answer(body=b"ana")}
    Settings = Settings
    stage = Stage.AUTH

    def __init__(self, settings):
        self.directory = settings.directory
        self.user = None

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        if self.user is None:
            work = lambda: self.ask(connection)  # noqa: E731
            self.user = await connection.once("user", work, shared=True)
        request.headers["X-User"] = self.user
        return await send(request)

    async def ask(self, connection):
        try:
            answer = await connection.request(self.directory, "GET", "/who")
            return (await connection.read(answer)).decode()
        except Exception as error:
            if connection.failure(error) is None:
                raise
            raise Refused("the directory does not answer") from error
