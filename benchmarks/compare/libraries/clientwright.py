"""clientwright, as in its README: `build` and `build_sync`, sharing a runtime as it advises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from clientwright import (
    AdapterDeps,
    CircuitBreakerConfig,
    ClientConfig,
    ClientRuntime,
    RetryConfig,
    TimeoutConfig,
    build,
    build_sync,
)

if TYPE_CHECKING:
    import httpx


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
    """No tokens of its own: headers of the configuration; its header providers are for context."""

    modes = ("sync", "async")
    lacks: frozenset[str] = frozenset()

    def __init__(self, config: ClientConfig) -> None:
        shared = runtime(config)
        self._client = build_sync("httpx", config, shared)
        self._async_client = build("httpx", config, shared)

    @classmethod
    def api_key(cls, url: str, key: str) -> Self:
        return cls(ClientConfig("the-service", base_url=url, headers={"X-API-Key": key}))

    @classmethod
    def bearer(cls, url: str, token: str) -> Self:
        headers = {"Authorization": f"Bearer {token}"}
        return cls(ClientConfig("the-service", base_url=url, headers=headers))

    def get(self, url: str) -> Any:
        return self._client.get(url, follow_redirects=True)

    async def aget(self, url: str) -> Any:
        return await self._async_client.get(url, follow_redirects=True)

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()


class Retry:
    """`RetryConfig`, without the breaker."""

    modes = ("sync",)
    lacks = frozenset({"a_post_that_never_left_is_repeated"})  # it goes by the method

    def __init__(self, url: str, attempts: int | None = None, backoff: float = 0.0) -> None:
        retry = RetryConfig()
        if attempts is not None:
            retry = RetryConfig(max_attempts=attempts, initial_backoff=backoff)
        config = ClientConfig("the-service", base_url=url, retry=retry, circuit_breaker=None)
        self._client = build_sync("httpx", config, runtime(config))

    def send(self, method: str, url: str, **body: Any) -> None:
        self._client.request(method, url, **body).raise_for_status()

    def close(self) -> None:
        self._client.close()


class Stack:
    """`build_sync`; the user's own code in it is a header provider."""

    modes = ("sync", "async")
    lacks = frozenset({"a_token_in_the_url_is_not_logged"})

    def __init__(self, url: str, **limits: Any) -> None:
        config = ClientConfig("the-service", base_url=url, **limits)
        deps = runtime(config, header_providers=(lambda: {"X-Stamp": "1"},))
        self._client = build_sync("httpx", config, deps)
        self._async_client = build("httpx", config, deps)
        self.get, self.aget = self._client.get, self._async_client.get

    @classmethod
    def stamping(cls, url: str) -> Self:
        return cls(url)

    @classmethod
    def within(cls, url: str, seconds: float) -> Self:
        return cls(url, timeout=TimeoutConfig(total=seconds), retry=None)

    @staticmethod
    def client(kind: str, _: str) -> Any:
        return build_sync(kind, ClientConfig("the-service"))

    @staticmethod
    def credential(url: str, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"}
        config = ClientConfig("the-service", base_url=url, headers=headers)
        client: httpx.Client = build_sync("httpx", config)
        return client

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()
