"""Answers in place of everything, cancellation included."""

from flext_plugins import Stage, hookimpl


class Wrong:
    rule = "test_cancellation_and_errors_unwind_it"
    seen = ("cancelled inside of it, the caller got status 503",)
    stage = Stage.CALL

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        try:
            return await send(request)
        except BaseException:
            return connection.respond(503)
