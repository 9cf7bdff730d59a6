"""Takes turns by a lock that belongs to an event loop."""

import asyncio

from flext_plugins import Stage, hookimpl


class Wrong:
    rule = "test_nothing_is_awaited_that_only_an_event_loop_can_finish"
    seen = ("it needs an event loop of its own; await what `connection` offers",)
    stage = Stage.GUARD

    def __init__(self):
        self.turn = asyncio.Lock()

    @hookimpl
    async def flext_exchange(self, request, send):
        async with self.turn:
            return await send(request)
