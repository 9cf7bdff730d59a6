"""Waits with its hands on the loop."""

import time

from flext_plugins import hookimpl


class Wrong:
    rule = "test_the_event_loop_is_never_blocked"
    seen = (
        "the loop stood still for ",
        " in flext_response at blocking.py:",
        "at an overloaded service",
    )

    @hookimpl
    async def flext_response(self, response):
        if response.status_code == 503:
            time.sleep(0.1)  # noqa: ASYNC251 - so it is
