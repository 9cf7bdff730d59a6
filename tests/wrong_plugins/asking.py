"""Asks another service, and does not think of its being down."""

from pydantic import BaseModel

from flext_plugins import ServiceName, Stage, hookimpl
from flext_plugins.testing import Answer


class Settings(BaseModel):
    directory: ServiceName


class Wrong:
    rule = "test_cancellation_and_errors_unwind_it"
    seen = ("with people down a request came out as PluginError: ", "asking.py:")
    settings = {"directory": "people"}
    services = {"people": lambda received: Answer(body=b"ana")}
    Settings = Settings
    stage = Stage.AUTH

    def __init__(self, settings):
        self.directory = settings.directory

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        answer = await connection.request(self.directory, "GET", "/who")
        try:
            request.headers["X-User"] = (await connection.read(answer)).decode()
        finally:
            await connection.close(answer)
        return await send(request)
