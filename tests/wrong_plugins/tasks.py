"""Starts a task that goes on."""

import asyncio

from flext_plugins import hookimpl


class Wrong:
    rule = "test_what_it_makes_is_closed_with_the_connection"
    seen = ("tasks still run: Wrong.refresh in refresh at tasks.py:20",)
    task = None

    @hookimpl
    def flext_connect(self, connection):
        if connection.asynchronous:
            self.task = asyncio.ensure_future(self.refresh())

    async def refresh(self):
        while True:
            await asyncio.sleep(3600)
