"""Ours: the plugins of the first party, in a host."""

from __future__ import annotations

from typing import Any, Self

import httpx

from flext_plugins import Host


class Composed:
    """Services by their addresses, each with the same plugins."""

    modes = ("sync", "async")
    lacks: frozenset[str] = frozenset()

    def __init__(self, urls: list[str], plugins: dict[str, Any], **more: Any) -> None:
        services = {_name(url): {"base_url": url, "plugins": plugins, **more} for url in urls}
        self._host = Host({"services": services})

    def get(self, url: str) -> httpx.Response:
        return self._host.connect(_name(url), follow_redirects=True).get(url)

    async def aget(self, url: str) -> httpx.Response:
        return await (await self._host.aconnect(_name(url), follow_redirects=True)).get(url)

    def close(self) -> None:
        self._host.close()

    async def aclose(self) -> None:
        await self._host.aclose()


class Breaker(Composed):
    """The plugin `circuit-breaker`."""

    def __init__(self, urls: list[str], threshold: int, recovery: float) -> None:
        settings = {"failure_threshold": threshold, "recovery_timeout": recovery}
        super().__init__(urls, {"circuit-breaker": settings})


class Auth(Composed):
    """The plugin `auth`."""

    @classmethod
    def oauth2(cls, tokens: str, url: str, pool: int = 10) -> Self:
        known = {"token_url": tokens, "client_id": "us", "client_secret": "secret"}
        return cls([url], {"auth": {"scheme": "oauth2", **known}}, max_connections=pool)

    failing = oauth2

    @classmethod
    def refreshing(cls, tokens: str, url: str) -> Self:
        return cls.oauth2(tokens, url)

    @classmethod
    def api_key(cls, url: str, key: str) -> Self:
        return cls([url], {"auth": {"scheme": "api-key", "key": key}})


def _name(url: str) -> str:
    """A service's, by its address."""
    return f"port-{httpx.URL(url).port}"
