"""Waits for an answer as long as ever, though its caller's deadline comes first."""

from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

from flext_plugins import Operation, hookimpl
from flext_plugins.testing import Answer


class Echo:
    def __init__(self, connection):
        self.connection = connection

    def say(self, text):
        operation = Operation("echo", "say", "echo:1", idempotent=True)
        said = self.connection.perform(operation, self.ask, text)
        return said if self.connection.asynchronous else self.connection.drive(said)

    def ask(self, text):
        url = urlsplit(self.connection.service.base_url)
        with closing(HTTPConnection(url.hostname, url.port, timeout=5)) as wire:
            wire.request("GET", f"/{text}")
            return wire.getresponse().read().decode()


class Wrong:
    rule = "test_callers_who_give_up_waiting_leave_nothing_behind"
    seen = ("say at echo ended 0.", " s after its deadline")

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Echo, Echo(connection))


class Conformance:
    def answers(self, received):
        word = received.path.lstrip("/")
        return Answer(body=word.encode(), delay={"soon": 0.05, "late": 0.5}.get(word, 0))

    async def exercise(self, trial):
        echo = await trial.resource(Echo)
        word = "late" if trial.hurried and not trial.world.asynchronous else "soon"
        assert await trial.call(echo.say, word) == word
