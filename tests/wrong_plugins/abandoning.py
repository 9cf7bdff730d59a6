"""Waits for its turn in a thread, which takes the turn even if the caller has gone."""

import threading

from flext_plugins import Refused, Stage, hookimpl


class Wrong:
    rule = "test_callers_who_give_up_waiting_leave_nothing_behind"
    seen = ("status 200 before ", " callers gave up at once, now Refused", "every place is taken")
    stage = Stage.GUARD

    def __init__(self):
        self.places = threading.Semaphore(3)

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        if not await connection.run(self.places.acquire, True, 1):
            raise Refused("every place is taken")
        try:
            return await send(request)
        finally:
            self.places.release()
