"""What the libraries that guard functions are given to guard: calls of plain httpx clients."""

from __future__ import annotations

from typing import Any

import httpx


def is_callers(error: Any) -> bool:
    """Whether it is an answer such as 404; their documentation has such a predicate for each."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500


class Decorated:
    """A breaker around functions; `sync` and `asynchronous` are its decorators."""

    modes: tuple[str, ...] = ("sync", "async")
    lacks: frozenset[str] = frozenset(
        {
            "retry_after_is_waited_for",
            "each_origin_has_its_own",  # one is made by hand for each dependency
            "the_refusal_is_the_clients_own_error",  # it knows no client library
        }
    )

    def __init__(self, sync: Any = None, asynchronous: Any = None) -> None:
        self._client = httpx.Client()
        self._async_client = httpx.AsyncClient()
        if sync is not None:
            self.get = sync(self._get)
        if asynchronous is not None:
            self.aget = asynchronous(self._aget)

    def _get(self, url: str) -> httpx.Response:
        return self._client.get(url).raise_for_status()

    async def _aget(self, url: str) -> httpx.Response:
        return (await self._async_client.get(url)).raise_for_status()

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()
