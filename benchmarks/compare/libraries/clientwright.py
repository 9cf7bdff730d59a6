"""clientwright, as in its README: `build` and `build_sync`, sharing a runtime as it advises."""

from __future__ import annotations

from typing import Any, Self

import httpx
from clientwright import (
    AdapterDeps,
    CircuitBreakerConfig,
    ClientConfig,
    ClientRuntime,
    build,
    build_sync,
)


def runtime(config: ClientConfig, **deps: Any) -> AdapterDeps:
    """What clients of one application share."""
    return AdapterDeps(runtime=ClientRuntime.for_config(config), **deps)


class Breaker:
    """One runtime under a sync and an async client, without retries."""

    modes = ("sync", "async")
    lacks = frozenset({"retry_after_is_waited_for"})

    def __init__(self, _: Any, threshold: int, recovery: float) -> None:
        circuit = CircuitBreakerConfig(fail_threshold=threshold, recovery_timeout=recovery)
        config = ClientConfig("the-service", retry=None, circuit_breaker=circuit)
        deps = runtime(config)
        self._client = build_sync("httpx", config, deps)
        self._async_client = build("httpx", config, deps)
        self.get, self.aget = self._client.get, self._async_client.get

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()


class Auth:
    """No tokens of its own: headers of the configuration, and header providers."""

    modes = ("sync", "async")
    lacks: frozenset[str] = frozenset()

    def __init__(self, config: ClientConfig, **deps: Any) -> None:
        shared = runtime(config, **deps)
        self._client = build_sync("httpx", config, shared)
        self._async_client = build("httpx", config, shared)

    @classmethod
    def api_key(cls, url: str, key: str) -> Self:
        return cls(ClientConfig("the-service", base_url=url, headers={"X-API-Key": key}))

    @classmethod
    def failing(cls, tokens: str, url: str) -> Self:
        def authorization() -> dict[str, str]:
            token = httpx.post(tokens).json()["access_token"]
            return {"Authorization": f"Bearer {token}"}

        return cls(ClientConfig("the-service", base_url=url), header_providers=(authorization,))

    def get(self, url: str) -> httpx.Response:
        return self._client.get(url, follow_redirects=True)

    async def aget(self, url: str) -> httpx.Response:
        return await self._async_client.get(url, follow_redirects=True)

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()
