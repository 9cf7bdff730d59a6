"""Answers for whatever goes wrong, the mistakes of others included."""

from flext_plugins import Stage, hookimpl


class Wrong:
    rule = "test_cancellation_and_errors_unwind_it"
    seen = ("a plugin further in made a mistake and raised, and the caller got status 599",)
    stage = Stage.CALL

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        try:
            return await send(request)
        except Exception:
            return connection.respond(599)
