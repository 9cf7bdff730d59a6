"""A cache that keeps nothing, which only who uses it for its purpose can tell."""

from flext_plugins import Stage, hookimpl
from flext_plugins.testing import Answer


class Wrong:
    rule = "test_it_is_made_from_its_settings"
    seen = ("its exercise raised AssertionError(", " in exercise at pointless.py:29")
    stage = Stage.CALL

    def __init__(self):
        self.kept = {}

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        if request.method == "get" and request.url.path in self.kept:
            return connection.respond(200, {}, self.kept[request.url.path])
        return await send(request)


class Conformance:
    answers = (Answer(headers={"Cache-Control": "max-age=60"}, body=b"kept"),)

    async def exercise(self, trial):
        await trial.get("/kept")
        before = len(trial.service.received)
        await trial.get("/kept")
        assert len(trial.service.received) == before, "it was asked again"
