"""purgatory, as in its README: a factory for each world, used as a decorator; `exclude`."""

from __future__ import annotations

from typing import Any

import httpx
from purgatory import AsyncCircuitBreakerFactory, SyncCircuitBreakerFactory

from .decorated import Decorated, is_callers


class Breaker(Decorated):
    """The two worlds share state by Redis alone."""

    lacks = Decorated.lacks | {"one_object_serves_both"}

    def __init__(self, _: Any, threshold: int, recovery: float) -> None:
        exclude = [(httpx.HTTPStatusError, is_callers)]
        sync, asynchronous = (
            factory(default_threshold=threshold, default_ttl=recovery, exclude=exclude)
            for factory in (SyncCircuitBreakerFactory, AsyncCircuitBreakerFactory)
        )
        super().__init__(sync("the service"), asynchronous("the service"))
