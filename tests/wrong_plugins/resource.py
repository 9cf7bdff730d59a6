"""Lends what blocks the event loop when it is asked."""

import time

from flext_plugins import Operation, hookimpl


class Table:
    def __init__(self, connection):
        self.connection = connection

    def rows(self):
        operation = Operation("table", "read", "rows")
        asked = self.connection.perform(operation, self.read)
        return asked if self.connection.asynchronous else self.connection.drive(asked)

    async def read(self):
        time.sleep(0.06)  # noqa: ASYNC251 - so it is
        return [1, 2, 3]


class Wrong:
    rule = "test_the_event_loop_is_never_blocked"
    seen = ("the loop stood still for ", " ms in read at resource.py:18, at its exercise")

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Table, Table(connection))


class Conformance:
    async def exercise(self, trial):
        table = await trial.resource(Table)
        assert await trial.call(table.rows) == [1, 2, 3]
