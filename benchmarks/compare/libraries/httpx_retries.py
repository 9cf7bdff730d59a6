"""httpx-retries, as in its README: `RetryTransport`, with a `Retry` for settings."""

from __future__ import annotations

from typing import Any

import httpx
import httpx_retries

from benchmarks.compare.measurement import NotOffered


class Retry:
    """Its defaults are `Retry()`'s: ten retries without a wait."""

    modes = ("sync",)
    lacks = frozenset({"a_post_that_never_left_is_repeated"})  # it goes by the method

    def __init__(self, _: str, attempts: int | None = None, backoff: float = 0.0) -> None:
        settings = httpx_retries.Retry()
        if attempts is not None:
            settings = httpx_retries.Retry(total=attempts - 1, backoff_factor=backoff)
        self._client = httpx.Client(transport=httpx_retries.RetryTransport(retry=settings))

    def send(self, method: str, url: str, **body: Any) -> None:
        self._client.request(method, url, **body).raise_for_status()

    def close(self) -> None:
        self._client.close()


class Stack:
    """One transport in a client."""

    modes = ("sync",)
    lacks = frozenset({"a_token_in_the_url_is_not_logged"})

    @staticmethod
    def client(kind: str, _: str) -> httpx.Client:
        if kind != "httpx":
            raise NotOffered
        return httpx.Client(transport=httpx_retries.RetryTransport())
