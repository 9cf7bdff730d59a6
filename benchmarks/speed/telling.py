"""What ours and stack A tell of the same traffic: spans, series, and what the service receives.

`python -m benchmarks.speed.telling` prints it as JSON: by the world, by the stack. It runs in a
process of its own since OpenTelemetry's instrumentations read once which conventions they follow.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import httpx
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flext_plugins.testing import Answer, LoopbackService

from .clients import running
from .signals import Signals
from .stacks import our_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

CONVENTIONS = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
"""OpenTelemetry's stable names for HTTP, which our plugin follows; the default has older ones."""
STATUSES = (200, 200, 404, 503)
"""What the service answers; after that it refuses the connection."""


def ours(signals: Signals, stack: ExitStack, url: str, *, is_async: bool) -> Callable[[], Any]:
    """Our four plugins, as they are measured."""
    host = our_host(url, signals)
    if not is_async:
        return lambda: stack.enter_context(host).connect("flexcore").get(url)
    runner = running(stack)
    stack.callback(lambda: runner.run(host.aclose()))

    async def get() -> httpx.Response:
        return await (await host.aconnect("flexcore")).get(url)

    return lambda: runner.run(get())


def stack_a(signals: Signals, stack: ExitStack, url: str, *, is_async: bool) -> Callable[[], Any]:
    """Stack A, as it is measured."""
    from .peers import stack_a as peer  # noqa: PLC0415 - after the environment says which names

    if not is_async:
        return peer.sync(signals, stack, url)
    runner = running(stack)
    get: Any = peer.asynchronous(signals, stack, url, runner)
    return lambda: runner.run(get())


def told(stack_of: Callable[..., Callable[[], Any]], *, is_async: bool) -> dict[str, Any]:
    """All that one stack tells."""
    exporter = InMemorySpanExporter()
    signals = Signals(exporter)
    with ExitStack() as stack:
        service = LoopbackService()
        stack.callback(service.close)
        get = stack_of(signals, stack, f"{service.url}/", is_async=is_async)
        for status in STATUSES:
            service.answer = Answer(status)
            get()
        service.refuse()
        with suppress(httpx.ConnectError):
            get()
        received = [
            {name: each.headers.get(name, "") for name in ("traceparent", "authorization")}
            for each in service.received
        ]
    spans = [_span(each) for each in exporter.get_finished_spans()]
    return {"spans": spans, "series": _series(signals), "received": received}


def _span(span: ReadableSpan) -> dict[str, Any]:
    context: Any = span.context
    return {
        "name": span.name,
        "kind": span.kind.name,
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes or {}),
        "events": [each.name for each in span.events],
        "trace": f"{context.trace_id:032x}-{context.span_id:016x}",
    }


def _series(signals: Signals) -> list[dict[str, Any]]:
    """Without buckets, and when they were made."""
    return [
        {"name": sample.name, "labels": sample.labels, "value": sample.value}
        for metric in signals.registry.collect()
        for sample in metric.samples
        if not sample.name.endswith(("_bucket", "_created"))
    ]


def main() -> None:
    """Print it all."""
    logging.getLogger("flext_plugins").addHandler(
        logging.NullHandler()
    )  # that a call fails is meant
    os.environ.update(CONVENTIONS)
    stacks = {"ours": ours, "stack A": stack_a}
    print(
        json.dumps(
            {
                world: {name: told(each, is_async=is_async) for name, each in stacks.items()}
                for world, is_async in {"sync": False, "async": True}.items()
            }
        )
    )


if __name__ == "__main__":
    main()
