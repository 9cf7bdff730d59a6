"""A bulkhead that gives a place back only after an answer or an error, never when cancelled."""

import threading

from flext_plugins import Refused, Stage, hookimpl


class Wrong:
    rule = "test_cancellation_and_errors_unwind_it"
    seen = ("status 200 before requests were cancelled, now Refused", "every place is taken")
    stage = Stage.GUARD

    def __init__(self):
        self.places = 300
        self.lock = threading.Lock()

    @hookimpl
    async def flext_exchange(self, request, send):
        with self.lock:
            if self.places < 300 - 9 and request.url.path == "/":
                raise Refused("every place is taken")
            self.places -= 1
        try:
            response = await send(request)
        except Exception:
            self.free()
            raise
        self.free()
        return response

    def free(self):
        with self.lock:
            self.places += 1
