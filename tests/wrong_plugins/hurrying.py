"""Blocks before it has awaited anything, over a body of which it knows the length."""

import time

from flext_plugins import hookimpl


class Wrong:
    rule = "test_the_event_loop_is_never_blocked"
    seen = ("the loop stood still for ",)

    @hookimpl
    def flext_request(self, request):
        if request.url.path == "/step" and "Content-Length" in request.headers:
            time.sleep(0.1)
