"""A plugin: lends a Redis server over a pool of connections; one to copy a pool from.

What a connection says and how it waits is in `resp.py`. Register the plugin, or offer it as an
entry point:

host.register(RedisPlugin, name="redis")
value = host.resource("cache", Redis).get("greeting")
"""

from __future__ import annotations

from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, PositiveInt
from resp import RedisError, connect

from flext_plugins import Operation, Secret, events, hookimpl

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from resp import Session, Words

    from flext_plugins import Call, Connection


class RedisSettings(BaseModel):
    """Settings: where Redis is, its password, and how many connections are used at a time."""

    host: str = "127.0.0.1"
    port: PositiveInt = 6379
    password: Secret | None = None
    size: PositiveInt = 8

    @property
    def target(self) -> str:
        """Who answers; the circuit breaker has one circuit for it."""
        return f"{self.host}:{self.port}"


class Pool:
    """The connections of one event loop, or of all threads together."""

    def __init__(self, settings: RedisSettings, connection: Connection) -> None:
        self._settings, self._connection = settings, connection
        self._idle: list[Session] = []  # each step on these is atomic, and needs no lock
        self._used: set[Session] = set()
        self._waiting: set[object] = set()
        self._is_closed, self._telling = False, RLock()

    async def ask(self, words: Words, waits: float) -> Any:
        """The answer to a command, for which Redis itself waits so many seconds at most.

        Raises:
            Refused: all connections are in use, for too long.
            RedisError: Redis said no, or nothing.
        """
        size, timeout = self._settings.size, self._connection.service.timeout.pool
        caller = object()
        self._waiting.add(caller)
        self._tell()
        try:
            async with self._connection.permit("pool", size, timeout=timeout, always=True):
                self._waiting.discard(caller)
                answer = await self._answer(words, waits)
        finally:
            self._waiting.discard(caller)
            self._tell()
        if isinstance(answer, RedisError):
            raise answer
        return answer

    async def _answer(self, words: Words, waits: float) -> Any:
        host, port, password = self._settings.host, self._settings.port, self._settings.password
        session = self._unused() or await connect((host, port), password, self._connection)
        self._used.add(session)
        self._tell()
        try:
            answer = await session.ask(words, waits)
        except BaseException:  # cancelled, late, broken: its answer may still come, to the next one
            self._used.discard(session)
            session.close()
            raise
        self._used.discard(session)
        self._idle.append(session)
        if self._is_closed:
            self.close()
        return answer

    def _unused(self) -> Session | None:
        """The connection that was used last, if it is alive."""
        while self._idle:
            with suppress(IndexError):  # another thread was faster
                session = self._idle.pop()
                if not session.is_stale:
                    return session
                session.close()
        return None

    def close(self) -> None:
        """Close what is idle; a connection that is in use is closed when it comes back."""
        self._is_closed = True
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()
        self._tell()

    def _tell(self) -> None:
        if self._connection.has_receivers:
            limit = 0 if self._is_closed else self._settings.size
            with self._telling:  # so that the latest event has the latest numbers
                numbers = len(self._used), len(self._idle), limit, len(self._waiting)
                self._connection.emit(events.PoolChanged("redis", self._settings.target, *numbers))


class AsyncRedis:
    """Asks Redis; each command is an operation."""

    def __init__(self, target: str, connection: Connection) -> None:
        self._target, self._connection = target, connection

    async def get(self, key: str) -> bytes | None:
        """The value of a key."""
        value: bytes | None = await self._perform(("GET", key), idempotent=True)
        return value

    async def set(self, key: str, value: bytes | str, ttl: float | None = None) -> None:
        """Set the value of a key, for so many seconds if `ttl` says so."""
        end = () if ttl is None else ("PX", max(1, round(ttl * 1000)))
        await self._perform(("SET", key, value, *end), idempotent=True)

    async def scan(self, match: str = "*", page: int = 100) -> AsyncGenerator[bytes, None]:
        """The keys that match, in pages of about so many; they are one call, with one deadline."""
        call, cursor = self._connection.begin_call(), b""
        while cursor != b"0":
            words = ("SCAN", cursor or 0, "MATCH", match, "COUNT", page)
            cursor, keys = await self._perform(words, call=call, idempotent=True)
            for key in keys:
                yield key

    async def pop(self, key: str, seconds: float) -> bytes | None:
        """The first item of a list; waits so long for one, and has a connection for itself."""
        seconds = max(seconds, 0.001)  # 0 is for ever
        item: list[bytes] | None = await self._perform(("BLPOP", key, seconds), seconds)
        return item[1] if item else None

    async def _perform(
        self, words: Words, waits: float = 0, call: Call | None = None, *, idempotent: bool = False
    ) -> Any:
        name = str(words[0]).lower()
        operation = Operation("redis", name, self._target, idempotent=idempotent)
        return await self._connection.perform(operation, self._ask, words, waits, call=call)

    async def _ask(self, words: Words, waits: float) -> Any:
        pool: Pool = self._connection.state["pool"]  # in a forked child it is the child's
        return await pool.ask(words, waits)


class Redis:
    """Does for threads what `AsyncRedis` does; any number of them may share it."""

    def __init__(self, redis: AsyncRedis, connection: Connection) -> None:
        self._redis, self._connection = redis, connection

    def get(self, key: str) -> bytes | None:
        """See `AsyncRedis.get`."""
        return self._connection.drive(self._redis.get(key))

    def set(self, key: str, value: bytes | str, ttl: float | None = None) -> None:
        """See `AsyncRedis.set`."""
        self._connection.drive(self._redis.set(key, value, ttl))

    def scan(self, match: str = "*", page: int = 100) -> Iterator[bytes]:
        """See `AsyncRedis.scan`."""
        return self._connection.iterate(self._redis.scan(match, page))

    def pop(self, key: str, seconds: float) -> bytes | None:
        """See `AsyncRedis.pop`."""
        return self._connection.drive(self._redis.pop(key, seconds))


class RedisPlugin:
    """Lends a `Redis` to threads, and an `AsyncRedis` to each event loop."""

    Settings = RedisSettings

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings

    @hookimpl
    def flext_connect(self, connection: Connection) -> None:
        """Lend it; a connection to Redis is made when one is needed."""
        pool = connection.state["pool"] = Pool(self._settings, connection)
        redis = AsyncRedis(self._settings.target, connection)
        if connection.asynchronous:
            connection.provide(AsyncRedis, redis, close=pool.close)
        else:
            connection.provide(Redis, Redis(redis, connection), close=pool.close)
