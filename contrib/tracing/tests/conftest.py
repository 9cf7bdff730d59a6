"""A service that is traced by the real SDK, which keeps the spans."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from flext_plugins import Host
from flext_plugins.testing import LoopbackService, World

Serve = Callable[..., Host]


class Spans(SpanProcessor):
    """What was started and what ended."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self.provider.add_span_processor(self)
        self.tracer = self.provider.get_tracer("test")
        self.begun: list[Span] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self.begun.append(span)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)

    @property
    def started(self) -> int:
        """How many."""
        return len(self.begun)

    @property
    def text(self) -> str:
        """All that is in them."""
        return "".join(each.to_json() for each in self.ended)


@pytest.fixture
def spans() -> Iterator[Spans]:
    found = Spans()
    yield found
    assert found.started == len(found.ended), "a span was left open"
    assert not trace.get_current_span().get_span_context().is_valid, "a span was left current"


@pytest.fixture
def serve(flext_world: World, flext_service: LoopbackService, spans: Spans) -> Serve:
    """A host whose `service` is `flext_service`, with `tracing` and the plugins that are named."""

    def serve(
        *plugins: type, tracing: dict[str, Any] | None = None, tables: Any = None, **service: Any
    ) -> Host:
        named = {plugin.__name__.lower(): plugin for plugin in plugins}
        used = {**(tables or {}), **{name: {} for name in named}, "tracing": tracing or {}}
        config = {"base_url": flext_service.url, "plugins": used, **service}
        host = flext_world.host({"services": {"service": config}}, **named)
        host.provide(TracerProvider, spans.provider)
        return host

    return serve
