"""Answers, although it is an observer."""

from flext_plugins import Stage, hookimpl


class Wrong:
    rule = "test_cancellation_and_errors_unwind_it"
    seen = ("flext_response returned ", "which is ignored: an observer only looks")
    stage = Stage.CALL
    observer = True

    @hookimpl
    def flext_response(self, connection):
        return connection.respond(204)
