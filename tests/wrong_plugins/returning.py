"""Neither sends nor answers when what it asks first is down."""

from pydantic import BaseModel

from flext_plugins import ServiceName, Stage, hookimpl
from flext_plugins.testing import Answer


class Wrong:
    rule = "test_cancellation_and_errors_unwind_it"
    seen = (
        "with directory down a request came out as PluginError: ",
        "flext_exchange returned NoneType, expected a response",
    )
    settings = {"directory": "directory"}
    services = {"directory": lambda _: Answer(204)}
    stage = Stage.AUTH

    class Settings(BaseModel):
        directory: ServiceName

    def __init__(self, settings):
        self.directory = settings.directory

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        try:
            asked = await connection.request(self.directory, "GET", "/")
        except Exception:
            return None
        await connection.close(asked)
        return await send(request)
