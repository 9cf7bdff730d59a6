"""A cache that writes what it keeps with its hands on the loop."""

import time

from flext_plugins import Stage, hookimpl
from flext_plugins.testing import Answer


class Wrong:
    rule = "test_the_event_loop_is_never_blocked"
    seen = (" ms in flext_exchange at storing.py:18, at answer 1 of its own",)
    stage = Stage.CALL

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        response = await send(request)
        if response.headers.get("Cache-Control") == "max-age=3600":
            time.sleep(0.06)  # noqa: ASYNC251 - so it is
        return response


class Conformance:
    answers = (Answer(headers={"Cache-Control": "max-age=3600"}, body=b"kept"),)
