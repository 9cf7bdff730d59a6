"""azure-core's pipeline over requests: credentials, metrics by a policy of the user's own, traces.

The policies are those that `PipelineClient` builds, retries and redirects among them, with a bearer
token and with tracing on. It has no circuit breaker.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from azure.core import PipelineClient
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.rest import HttpRequest
from azure.core.settings import settings
from opentelemetry import trace

from benchmarks.speed.signals import Series, Signals

from . import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack


class Credential:
    """A token that is there."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        """It, for a day."""
        return AccessToken(TOKEN, int(time.time()) + 86400)


def sync(signals: Signals, stack: ExitStack, url: str) -> Callable[[], Any]:
    """A `PipelineClient`; it traces to the global provider, which nobody else here asks."""
    if not _Traced.on:
        trace.set_tracer_provider(signals.tracers)
        settings.tracing_enabled = True
        _Traced.on = True
    policy = BearerTokenCredentialPolicy(Credential(), "scope")
    client = stack.enter_context(PipelineClient(url, per_retry_policies=[policy]))

    def get(target: str) -> Any:
        return client.send_request(HttpRequest("GET", target), enforce_https=False)

    return Series(signals.registry).told(get, url)


class _Traced:
    """OpenTelemetry's global provider can be set once."""

    on = False
