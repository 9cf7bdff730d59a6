"""Lends what lets the errors of its driver out, so that nobody counts them or tries again."""

from flext_plugins import Operation, hookimpl


class BrokerTimeout(Exception):
    """A driver's own."""


class Queue:
    def __init__(self, connection):
        self.connection = connection

    def size(self):
        asking = self.connection.perform(Operation("queue", "size", "orders"), self.ask)
        return asking if self.connection.asynchronous else self.connection.drive(asking)

    def ask(self):
        raise BrokerTimeout("no answer")


class Wrong:
    rule = "test_an_error_of_the_wire_is_told_as_one"
    seen = (
        "size at queue raised BrokerTimeout('no answer') in ask at judging.py:19",
        "looks like the wire's (BrokerTimeout) and has no `failure`",
    )

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Queue, Queue(connection))


class Conformance:
    async def exercise(self, trial):
        queue = await trial.resource(Queue)
        try:
            await trial.call(queue.size)
        except BrokerTimeout:
            return
        raise AssertionError("it answered")
