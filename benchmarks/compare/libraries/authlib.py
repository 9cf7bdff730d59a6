"""authlib's `OAuth2Client` and `AsyncOAuth2Client`, as its page on HTTPX clients says.

A token is fetched once by hand; with `token_endpoint` and the grant given it is renewed by itself.
"""

from __future__ import annotations

import time
from typing import Any, Self

import httpx2
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuth2Client
from authlib.integrations.requests_client import OAuth2Session

from benchmarks.compare.measurement import NotOffered

HEALING = frozenset({"a_401_is_healed", "a_storm_of_401s_makes_one_fetch", "a_pool_of_one_heals"})


class Auth:
    """Client credentials, or a token with a refresh token."""

    modes = ("sync", "async")
    lacks = HEALING

    def __init__(self, token: dict[str, Any] | None = None, **options: Any) -> None:
        options |= {"client_id": "us", "client_secret": "secret", "follow_redirects": True}
        self._token, self._options = token, options
        self._client: Any = None
        self._async_client: Any = None

    @classmethod
    def oauth2(cls, tokens: str, _: str, pool: int = 10) -> Self:
        limits = httpx2.Limits(max_connections=pool)
        return cls(token_endpoint=tokens, grant_type="client_credentials", limits=limits)

    @classmethod
    def refreshing(cls, tokens: str, _: str) -> Self:
        return cls(token_endpoint=tokens, grant_type="password")

    @classmethod
    def failing(cls, tokens: str, _: str) -> Self:
        expired = {"access_token": "old", "token_type": "Bearer", "expires_at": time.time() - 1}
        return cls(expired, token_endpoint=tokens, grant_type="client_credentials")

    def _login(self) -> dict[str, str]:
        known = {"username": "ana", "password": "secret"}
        return known if self._options["grant_type"] == "password" else {}

    def get(self, url: str) -> Any:
        if self._client is None:
            self._client = OAuth2Client(token=self._token, **self._options)
            if self._token is None:
                self._client.fetch_token(**self._login())
        return self._client.get(url)

    async def aget(self, url: str) -> Any:
        if self._async_client is None:
            self._async_client = AsyncOAuth2Client(token=self._token, **self._options)
            if self._token is None:
                await self._async_client.fetch_token(**self._login())
        return await self._async_client.get(url)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    async def aclose(self) -> None:
        if self._async_client is not None:
            await self._async_client.aclose()


class Stack:
    """Its clients, httpx2's and requests', with a token."""

    modes = ("sync",)
    lacks = frozenset({"a_token_in_the_url_is_not_logged"})

    @staticmethod
    def client(kind: str, _: str) -> Any:
        kinds = {"httpx2": OAuth2Client, "requests": OAuth2Session}
        if kind not in kinds:
            raise NotOffered
        return kinds[kind](token=_token("a-token"))

    @staticmethod
    def credential(_: str, token: str) -> OAuth2Client:
        return OAuth2Client(token=_token(token))


def _token(value: str) -> dict[str, Any]:
    return {"access_token": value, "token_type": "Bearer", "expires_at": time.time() + 3600}
