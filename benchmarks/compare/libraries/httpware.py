"""httpware, as in its documentation: its own clients with middleware."""

from __future__ import annotations

from typing import Any, Self

import httpware
import httpx2
from httpware import (
    AsyncClient,
    AsyncKeyedCircuitBreaker,
    AsyncTimeout,
    Client,
    KeyedCircuitBreaker,
    async_before_request,
    before_request,
)

from benchmarks.compare.measurement import NotOffered

GRANT = {"grant_type": "client_credentials"}


class Breaker:
    """A breaker for each world: its documentation says that they cannot be shared."""

    modes = ("sync", "async")
    lacks = frozenset({"retry_after_is_waited_for", "one_object_serves_both"})

    def __init__(self, _: Any, threshold: int, recovery: float) -> None:
        sync, asynchronous = (
            kind(failure_threshold=threshold, reset_timeout=recovery)
            for kind in (KeyedCircuitBreaker, AsyncKeyedCircuitBreaker)
        )
        self._client = Client(middleware=[sync])
        self._async_client = AsyncClient(middleware=[asynchronous])
        self.get, self.aget = self._client.get, self._async_client.get

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()


class Auth:
    """No tokens of its own: headers of the client, and middleware for them."""

    modes = ("sync", "async")
    lacks: frozenset[str] = frozenset()

    def __init__(self, sync: Any = (), asynchronous: Any = (), **options: Any) -> None:
        options["follow_redirects"] = True
        self._client = Client(middleware=sync, **options)
        self._async_client = AsyncClient(middleware=asynchronous, **options)
        self.get, self.aget = self._client.get, self._async_client.get

    @classmethod
    def api_key(cls, _: str, key: str) -> Self:
        return cls(headers={"X-API-Key": key})

    @classmethod
    def bearer(cls, _: str, token: str) -> Self:
        return cls(headers={"Authorization": f"Bearer {token}"})

    @classmethod
    def failing(cls, tokens: str, _: str) -> Self:
        def authorize(request: httpx2.Request) -> httpx2.Request:
            token = httpx2.post(tokens, data=GRANT).json()["access_token"]
            request.headers["Authorization"] = f"Bearer {token}"
            return request

        async def aauthorize(request: httpx2.Request) -> httpx2.Request:
            return authorize(request)

        return cls([before_request(authorize)], [async_before_request(aauthorize)])

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()


class Retry:
    """The middleware `Retry`."""

    modes = ("sync",)
    lacks = frozenset({"a_post_that_never_left_is_repeated"})  # it goes by the method

    def __init__(self, _: str, attempts: int | None = None, backoff: float = 0.0) -> None:
        settings: dict[str, Any] = {}
        if attempts is not None:
            settings = {"max_attempts": attempts, "base_delay": backoff}
        self._client = Client(middleware=[httpware.Retry(**settings)])

    def send(self, method: str, url: str, **body: Any) -> None:
        getattr(self._client, method.lower())(url, **body)

    def close(self) -> None:
        self._client.close()


class Stack:
    """Its clients; the user's own code in them is middleware."""

    modes = ("async",)  # for a time that a call may take
    lacks = frozenset({"a_token_in_the_url_is_not_logged"})

    def __init__(self, *asynchronous: Any) -> None:
        def stamp(request: httpx2.Request) -> httpx2.Request:
            request.headers["X-Stamp"] = "1"
            return request

        self._client = Client(middleware=[before_request(stamp)])
        self._async_client = AsyncClient(middleware=[*asynchronous, before_request(stamp)])
        self.get, self.aget = self._client.get, self._async_client.get

    @classmethod
    def stamping(cls, _: str) -> Self:
        return cls()

    @classmethod
    def within(cls, _: str, seconds: float) -> Self:
        return cls(AsyncTimeout(timeout=seconds))

    @staticmethod
    def client(kind: str, _: str) -> Client:
        if kind != "httpx2":
            raise NotOffered
        return Client()

    @staticmethod
    def credential(_: str, token: str) -> Client:
        def authorize(request: httpx2.Request) -> httpx2.Request:
            request.headers["Authorization"] = f"Bearer {token}"
            return request

        return Client(middleware=[before_request(authorize)])

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()
