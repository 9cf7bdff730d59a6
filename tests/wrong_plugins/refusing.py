"""Says of what was sent, and failed, that it was refused."""

from flext_plugins import Refused, Stage, hookimpl


class Wrong:
    rule = "test_cancellation_and_errors_unwind_it"
    seen = ("a connection reset, which was sent, came out as Refused: ",)
    stage = Stage.GUARD

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        try:
            return await send(request)
        except Exception as error:
            if connection.failure(error) is None or not connection.waits:
                raise
            raise Refused("the service is away") from error
