"""httpx-auth, as in its README: an `httpx.Auth` given to the client."""

from __future__ import annotations

from typing import Any, Self

import httpx
from httpx_auth import (
    HeaderApiKey,
    OAuth2,
    OAuth2ClientCredentials,
    OAuth2ResourceOwnerPasswordCredentials,
)

from benchmarks.compare.measurement import NotOffered

from .authlib import HEALING


class Auth:
    """One auth object in a sync and an async client."""

    modes = ("sync", "async")
    lacks = HEALING

    def __init__(self, auth: httpx.Auth, pool: int = 10) -> None:
        OAuth2.token_cache.clear()  # one for the process, by what is asked for
        options: dict[str, Any] = {"auth": auth, "follow_redirects": True}
        options["limits"] = httpx.Limits(max_connections=pool)
        self._client, self._async_client = httpx.Client(**options), httpx.AsyncClient(**options)
        self.get, self.aget = self._client.get, self._async_client.get

    @classmethod
    def oauth2(cls, tokens: str, _: str, pool: int = 10) -> Self:
        return cls(OAuth2ClientCredentials(tokens, "us", "secret"), pool)

    failing = oauth2

    @classmethod
    def refreshing(cls, tokens: str, _: str) -> Self:
        return cls(OAuth2ResourceOwnerPasswordCredentials(tokens, "ana", "secret"))

    @classmethod
    def api_key(cls, _: str, key: str) -> Self:
        return cls(HeaderApiKey(key))

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()


class Stack:
    """An auth object in a client; `httpx.Auth` itself is the user's own code, written once."""

    modes = ("sync",)
    lacks = frozenset({"a_token_in_the_url_is_not_logged"})
    credential = staticmethod(lambda _, token: httpx.Client(auth=HeaderApiKey(token)))

    @staticmethod
    def client(kind: str, _: str) -> httpx.Client:
        if kind != "httpx":
            raise NotOffered
        return httpx.Client(auth=HeaderApiKey("a-key"))
