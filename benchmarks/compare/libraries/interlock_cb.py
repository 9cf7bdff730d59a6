"""interlock-cb, as in its README: its transports, which share a registry as its pages say."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import requests
from interlock import Config, Registry
from interlock.integrations import httpx2 as interlock_httpx2
from interlock.integrations.httpx import (
    AsyncCircuitBreakerTransport,
    CircuitBreakerTransport,
    HttpStatusClassifier,
)
from interlock.integrations.requests import CircuitBreakerAdapter


class Breaker:
    """One registry under a sync and an async client."""

    modes = ("sync", "async")
    lacks = frozenset(
        {
            "retry_after_is_waited_for",
            "broken_bodies_open_it",  # its page says so, under "Streaming responses"
        }
    )

    def __init__(self, _: Any, threshold: int, recovery: float) -> None:
        config = Config(
            minimum_number_of_calls=threshold,
            permitted_calls_in_half_open=1,
            wait_duration_in_open=recovery,
        )
        registry = Registry(config=config, classifier=HttpStatusClassifier())
        self._client = httpx.Client(
            transport=CircuitBreakerTransport(httpx.HTTPTransport(), registry=registry)
        )
        self._async_client = httpx.AsyncClient(
            transport=AsyncCircuitBreakerTransport(httpx.AsyncHTTPTransport(), registry=registry)
        )
        self.get, self.aget = self._client.get, self._async_client.get

    def close(self) -> None:
        self._client.close()

    async def aclose(self) -> None:
        await self._async_client.aclose()


class Stack:
    """Its transports, and its adapter for requests."""

    modes = ("sync",)
    lacks = frozenset({"a_token_in_the_url_is_not_logged"})

    @staticmethod
    def client(kind: str, _: str) -> Any:
        if kind == "httpx":
            return httpx.Client(transport=CircuitBreakerTransport(httpx.HTTPTransport()))
        if kind == "httpx2":
            return httpx2.Client(
                transport=interlock_httpx2.CircuitBreakerTransport(httpx2.HTTPTransport())
            )
        session = requests.Session()
        session.mount("http://", CircuitBreakerAdapter())
        return session
