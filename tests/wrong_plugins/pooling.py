"""Puts a connection back into its pool though its caller was cancelled before the answer came."""

import asyncio
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

from flext_plugins import Operation, hookimpl
from flext_plugins.testing import Answer

SAY = Operation("echo", "say", "echo:1", idempotent=True)


class Echo:
    def __init__(self, connection):
        self.connection, self.idle = connection, []

    def say(self, text):
        if self.connection.asynchronous:
            return self.connection.perform(SAY, self.wait, text)
        return self.connection.drive(self.connection.perform(SAY, self.block, text))

    def block(self, text):
        url = urlsplit(self.connection.service.base_url)
        seconds = self.connection.timeout(5)
        with closing(HTTPConnection(url.hostname, url.port, timeout=seconds)) as wire:
            wire.request("GET", f"/{text}")
            return wire.getresponse().read().decode()

    async def wait(self, text):
        reader, writer = wire = self.idle.pop() if self.idle else await self.open()
        try:
            writer.write(f"GET /{text} HTTP/1.1\r\nHost: echo\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            return (await reader.readexactly(length)).decode()
        finally:
            self.idle.append(wire)

    async def open(self):
        url = urlsplit(self.connection.service.base_url)
        return await asyncio.open_connection(url.hostname, url.port)

    def close(self):
        for _, writer in self.idle:
            writer.transport.abort()


class Wrong:
    rule = "test_callers_who_give_up_waiting_leave_nothing_behind"
    seen = (
        "after exercises were cancelled, one raised AssertionError(",
        " in exercise at pooling.",
    )

    @hookimpl
    def flext_connect(self, connection):
        echo = Echo(connection)
        connection.provide(Echo, echo, close=echo.close)


class Conformance:
    def answers(self, received):
        word = received.path.lstrip("/")
        return Answer(body=word.encode(), delay=0.03 if word in {"one", "two"} else 0)

    async def exercise(self, trial):
        echo = await trial.resource(Echo)
        for word in ("one", "two"):
            assert await trial.call(echo.say, word) == word
