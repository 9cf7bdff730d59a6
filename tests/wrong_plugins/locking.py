"""Holds a thread's lock while it awaits, so that a second task stops the event loop for good."""

import threading

from flext_plugins import Operation, hookimpl


class Table:
    def __init__(self, connection):
        self.connection, self.lock = connection, threading.Lock()

    def rows(self):
        asked = self.connection.perform(Operation("table", "read", "rows"), self.read)
        return asked if self.connection.asynchronous else self.connection.drive(asked)

    async def read(self):
        with self.lock:
            await self.connection.sleep(0.02)
            return [1, 2, 3]


class Wrong:
    rule = "test_many_threads_and_tasks_use_it_at_once"
    seen = (" callers at once hang, the event loop in read at locking.py:17",)

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Table, Table(connection))


class Conformance:
    async def exercise(self, trial):
        table = await trial.resource(Table)
        assert await trial.call(table.rows) == [1, 2, 3]
