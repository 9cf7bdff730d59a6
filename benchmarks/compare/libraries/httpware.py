"""httpware, as in its documentation: its own clients with middleware."""

from __future__ import annotations

from typing import Any, Self

import httpx2
from httpware import (
    AsyncClient,
    AsyncKeyedCircuitBreaker,
    Client,
    KeyedCircuitBreaker,
    async_before_request,
    before_request,
)


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
    def failing(cls, tokens: str, _: str) -> Self:
        def authorize(request: httpx2.Request) -> httpx2.Request:
            token = httpx2.post(tokens).json()["access_token"]
            request.headers["Authorization"] = f"Bearer {token}"
            return request

        async def aauthorize(request: httpx2.Request) -> httpx2.Request:
            return authorize(request)

        return cls([before_request(authorize)], [async_before_request(aauthorize)])

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()
