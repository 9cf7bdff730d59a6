"""OpenTelemetry's spans of a request, whoever makes them; not to be imported without its SDK."""

from __future__ import annotations

from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

import flext_plugins
from flext_plugins.cli._timeline import current
from flext_plugins.redaction import MASK, is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

WORDY = {"exception.message", "exception.stacktrace"}
"""What may quote anything; the command tells the error in its own words."""


class Branch(NamedTuple):
    """A span, or an event on the one that it hangs from."""

    name: str
    where: str = ""
    """The kind, and the service."""
    what: str = ""
    seconds: float | None = None
    id: str = ""
    below: tuple[Branch, ...] = ()


class Spans(SpanProcessor):
    """Keeps the spans of all providers that it hears of, beginning with the global one."""

    def __init__(self) -> None:
        self._ended: list[ReadableSpan] = []
        self._services: dict[int, str] = {}
        self._providers: list[TracerProvider] = []
        self._root = ""
        found = trace.get_tracer_provider()
        provider = found if isinstance(found, TracerProvider) else TracerProvider()
        if isinstance(found, trace.ProxyTracerProvider):  # until somebody sets one
            trace.set_tracer_provider(provider)
        self.hear(provider)

    def hear(self, provider: object) -> None:
        """Listen to `provider`, if it is one of the SDK's; once."""
        if isinstance(provider, TracerProvider) and provider not in self._providers:
            self._providers.append(provider)
            provider.add_span_processor(self)

    @contextmanager
    def root(self, name: str) -> Iterator[None]:
        """A span around it all; it goes where the spans of the last one heard of go."""
        tracer = self._providers[-1].get_tracer(__package__, flext_plugins.__version__)
        # An error's text, which the SDK would record, may quote what was sent.
        with tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as span:
            self._root = format_span_id(span.get_span_context().span_id)
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(StatusCode.ERROR)
                raise

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Note whose hook is running."""
        if (step := current.get()) is not None:
            self._services[span.context.span_id] = step.service

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it."""
        self._ended.append(span)

    def trees(self) -> dict[str, list[Branch]]:
        """The roots by trace id; what hangs from one is in the order in which it began.

        A root of this class without anything below is left out: there is nothing to see.
        """
        children: dict[int, list[ReadableSpan]] = {}
        known = {_id(span) for span in self._ended}
        for span in sorted(self._ended, key=_began):
            parent = span.parent.span_id if span.parent is not None else 0
            children.setdefault(parent if parent in known else 0, []).append(span)
        found: dict[str, list[Branch]] = {}
        for span in children.pop(0, []):
            branch = self._branch(span, children)
            if branch.below or branch.id != self._root:
                found.setdefault(format_trace_id(span.context.trace_id), []).append(branch)
        return found

    def _branch(self, span: ReadableSpan, children: Mapping[int, list[ReadableSpan]]) -> Branch:
        """`span` and all below it."""
        below = [
            (_began(each), self._branch(each, children)) for each in children.get(_id(span), ())
        ]
        below += [
            (each.timestamp, Branch(each.name, what=_attributes_text(each.attributes or {})))
            for each in span.events
        ]
        return Branch(
            span.name,
            f"{span.kind.name.lower()} {self._services.get(_id(span), '')}".rstrip(),
            _outcome(span),
            ((span.end_time or 0) - _began(span)) / 1e9,
            format_span_id(_id(span)),
            tuple(branch for _, branch in sorted(below, key=itemgetter(0))),
        )


def _began(span: ReadableSpan) -> int:
    return span.start_time or 0


def _id(span: ReadableSpan) -> int:
    found: int = span.context.span_id
    return found


def _outcome(span: ReadableSpan) -> str:
    said = span.attributes or {}
    words = [str(said.get("http.response.status_code", ""))]
    if span.status.status_code is StatusCode.ERROR:
        words = ["error", str(said.get("error.type", ""))]
    if resends := said.get("http.request.resend_count"):
        words.append(f" resend_count={resends}")
    return " ".join(word for word in words if word)


def _attributes_text(attributes: Mapping[str, object]) -> str:
    """An event's attributes by the last part of their names; of secret ones only the name."""
    words = []
    for name, value in attributes.items():
        short = name.rpartition(".")[2]
        shown = f"{value:.3f}" if isinstance(value, float) else value
        if name not in WORDY:
            words.append(f"{short}={MASK if is_secret(short) else shown}")
    return "  ".join(words)
