"""Has an asyncio.Semaphore as its pool, which threads cannot wait for."""

import asyncio

from flext_plugins import Operation, hookimpl


class Table:
    def __init__(self, connection):
        self.connection, self.places = connection, asyncio.Semaphore(1)

    def rows(self):
        asked = self.connection.perform(Operation("table", "read", "rows"), self.read)
        return asked if self.connection.asynchronous else self.connection.drive(asked)

    async def read(self):
        async with self.places:
            await self.connection.sleep(0.02)
            return [1, 2, 3]


class Wrong:
    rule = "test_many_threads_and_tasks_use_it_at_once"
    seen = (" exercises at once one raised PluginError(", "it needs an event loop of its own")

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Table, Table(connection))


class Conformance:
    async def exercise(self, trial):
        table = await trial.resource(Table)
        assert await trial.call(table.rows) == [1, 2, 3]
