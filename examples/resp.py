"""A connection that speaks RESP, Redis's protocol: the logic is written once, for both worlds.

They differ in how a stream waits: a socket that blocks for threads, asyncio for event loops.
`redis_pool.py` makes a pool of such connections.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from flext_plugins import Failure, FlextError

if TYPE_CHECKING:
    from flext_plugins import Connection, Secret

Words: TypeAlias = "tuple[str | bytes | float, ...]"
Seconds: TypeAlias = "float | None"
SIZE = 2**16
NOT_NOW = ("LOADING ", "BUSY ", "MASTERDOWN ", "ERR max number of clients ")
"""The beginnings of what Redis says when it has done nothing, and may do so later."""


class RedisError(FlextError):
    """Redis works, and said no: to a wrong password, or a command that does not fit."""


class RedisUnavailable(RedisError):
    """Nothing was done: Redis cannot be reached, or is not ready."""

    failure = Failure.CONNECT


class RedisTimeout(RedisError):
    """No answer came in time."""

    failure = Failure.TIMEOUT


class RedisBroken(RedisError):
    """The connection broke before the answer was there."""

    failure = Failure.READ


class NotRedis(RedisError):
    """What answers does not speak the protocol."""

    failure = Failure.PROTOCOL


class SocketStream:
    """A socket that blocks, for threads.

    An `async def` that blocks and never suspends is right in a sync connection, and only there: it
    runs in the thread of its caller, who waits for it anyway, and no event loop stands still.
    """

    async def connect(self, address: tuple[str, int], seconds: Seconds) -> None:
        """Connect."""
        self._socket = socket.create_connection(address, seconds)

    async def send(self, data: bytes, seconds: Seconds) -> None:
        """Send all of it."""
        self._socket.settimeout(seconds)
        self._socket.sendall(data)

    async def receive(self, seconds: Seconds) -> bytes:
        """What has come, as soon as there is something; nothing at the end."""
        self._socket.settimeout(seconds)
        return self._socket.recv(SIZE)

    def fileno(self) -> int:
        """The socket's number, negative if it is closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it at once."""
        self._socket.close()


class AsyncioStream:
    """The same for an event loop: what an async connection performs may await what asyncio has."""

    async def connect(self, address: tuple[str, int], seconds: Seconds) -> None:
        """Connect."""
        async with asyncio.timeout(seconds):
            self._reader, self._writer = await asyncio.open_connection(*address)
        STREAMS.add(self)

    async def send(self, data: bytes, seconds: Seconds) -> None:
        """Send all of it."""
        async with asyncio.timeout(seconds):
            self._writer.write(data)
            await self._writer.drain()

    async def receive(self, seconds: Seconds) -> bytes:
        """What has come, as soon as there is something; nothing at the end."""
        async with asyncio.timeout(seconds):
            return await self._reader.read(SIZE)

    def fileno(self) -> int:
        """The socket's number, negative if it is closed."""
        number: int = self._writer.get_extra_info("socket").fileno()
        return number

    def close(self) -> None:
        """Close it at once: who is cancelled awaits nothing more."""
        self._writer.transport.abort()


STREAMS: WeakSet[AsyncioStream] = WeakSet()
INHERITED: list[AsyncioStream] = []
# A StreamWriter that is collected closes itself. In a forked child it would take the parent's
# socket out of the epoll that both processes share, so there it is kept.
os.register_at_fork(after_in_child=lambda: INHERITED.extend(STREAMS))


class Session:
    """A connection to Redis; after an error that it raised it cannot be used."""

    def __init__(self, stream: SocketStream | AsyncioStream, connection: Connection) -> None:
        self._stream, self._connection = stream, connection
        self._received = bytearray()

    @property
    def is_stale(self) -> bool:
        """Whether Redis has closed it, or said something that nobody asked for."""
        if self._stream.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close it at once."""
        self._stream.close()

    async def ask(self, words: Words, waits: float = 0) -> Any:
        """The answer to a command; one by which Redis says no is a `RedisError`.

        Args:
            words: the command.
            waits: for so many seconds Redis itself waits.

        Raises:
            RedisError: the answer did not come, or is none.
        """
        parts = [each if isinstance(each, bytes) else str(each).encode() for each in words]
        texts = (b"$%d\r\n%b\r\n" % (len(each), each) for each in parts)
        command = b"*%d\r\n%b" % (len(parts), b"".join(texts))
        read = self._connection.service.timeout.read
        seconds = None if read is None else read + waits
        try:
            await self._stream.send(command, self._connection.timeout(seconds))
            answer = await self._answer(seconds)
            if self._received:
                raise ValueError("more than one answer")
        except OSError as error:
            kind = RedisTimeout if isinstance(error, TimeoutError) else RedisBroken
            raise kind(f"no answer to {words[0]}: {str(error) or 'timed out'}") from error
        except ValueError as error:
            raise NotRedis(f"no answer to {words[0]} in Redis's protocol") from error
        return answer

    async def _answer(self, seconds: Seconds) -> Any:
        line = await self._line(0, seconds)
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            text = rest.decode()
            return (RedisUnavailable if text.startswith(NOT_NOW) else RedisError)(text)
        number = int(rest)
        if kind == b":":
            return number
        if kind == b"$":
            return await self._line(number, seconds) if number >= 0 else None
        if kind == b"*":
            return [await self._answer(seconds) for _ in range(number)] if number >= 0 else None
        raise ValueError(kind)

    async def _line(self, size: int, seconds: Seconds) -> bytes:
        """What comes before the end of a line, the first one behind `size` bytes."""
        while (end := self._received.find(b"\r\n", size)) < 0:
            data = await self._stream.receive(self._connection.timeout(seconds))
            if not data:
                raise ConnectionError("the connection was closed")
            self._received += data
        line = bytes(self._received[:end])
        del self._received[: end + 2]
        return line


async def connect(
    address: tuple[str, int], password: Secret | None, connection: Connection
) -> Session:
    """A new connection, to which Redis has given a first answer.

    Raises:
        RedisUnavailable: it cannot be reached; nothing was asked for yet.
        RedisError: the password is wrong.
    """
    stream = AsyncioStream() if connection.asynchronous else SocketStream()
    words = ("AUTH", password.get_secret_value()) if password else ("PING",)
    try:
        seconds = connection.timeout(connection.service.timeout.connect)
        await stream.connect(address, seconds)
        session = Session(stream, connection)
        try:
            answer = await session.ask(words)
            if isinstance(answer, RedisError):
                raise answer
        except BaseException:
            session.close()
            raise
    except (OSError, RedisTimeout, RedisBroken) as error:
        target = f"{address[0]}:{address[1]}"
        reason = str(error) or "timed out"
        raise RedisUnavailable(f"no connection to {target}: {reason}") from error
    return session
