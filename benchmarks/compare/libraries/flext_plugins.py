"""Ours: the plugins of the first party, in a host."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import httpx
import httpx2
import requests

from flext_plugins import Host, Request, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


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

    @contextmanager
    def _lent(self, kind: type[Any]) -> Iterator[Any]:
        """A client of the first service; the host is closed with it."""
        with self._host, self._host.connect(next(iter(self._host.services)), kind) as client:
            yield client

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


class Retry(Composed):
    """The plugin `retry`."""

    def __init__(self, url: str, attempts: int | None = None, backoff: float = 0.1) -> None:
        settings = {} if attempts is None else {"attempts": attempts, "backoff": backoff}
        super().__init__([url], {"retry": settings})

    def send(self, method: str, url: str, **body: Any) -> None:
        self._host.connect(_name(url)).request(method, url, **body).raise_for_status()


class Stamp:
    """A plugin of the user's own."""

    @hookimpl
    def flext_request(self, request: Request) -> None:
        """Add a header."""
        request.headers["X-Stamp"] = "1"


class Stack(Composed):
    """A host; the user's own code in it is a plugin."""

    @classmethod
    def stamping(cls, url: str) -> Self:
        made = cls([url], {"stamp": {}})
        made._host.register(Stamp, name="stamp")
        return made

    @classmethod
    def within(cls, url: str, seconds: float) -> Self:
        return cls([url], {}, deadline=seconds)

    @classmethod
    def discovered(cls, url: str) -> AbstractContextManager[Any]:
        return cls([url], {"stamp": {}})._lent(httpx.Client)

    @classmethod
    def client(cls, kind: str, url: str) -> AbstractContextManager[Any]:
        kinds = {"httpx": httpx.Client, "httpx2": httpx2.Client, "requests": requests.Session}
        return cls([url], {})._lent(kinds[kind])

    @classmethod
    def credential(cls, url: str, token: str) -> AbstractContextManager[Any]:
        return cls([url], {"auth": {"scheme": "bearer", "token": token}})._lent(httpx.Client)


def _name(url: str) -> str:
    """A service's, by its address."""
    return f"port-{httpx.URL(url).port}"
