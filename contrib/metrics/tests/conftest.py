"""A registry for each test, and a host whose services are measured into it."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from flext_plugins import Host
from flext_plugins.testing import LoopbackService, World

Serve = Callable[..., Host]


class Registry(CollectorRegistry):
    """What a test asks of it."""

    def all(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """The samples of that name with these labels, by the values of the others but `service`."""
        found = {}
        for metric in self.collect():
            for sample in metric.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    rest = sample.labels.keys() - labels.keys() - {"service", "server_address"}
                    found[tuple(sample.labels[each] for each in sorted(rest))] = sample.value
        return found

    def total(self, name: str, **labels: str) -> float:
        """Their sum."""
        return sum(self.all(name, **labels).values())


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def serve(flext_world: World, flext_service: LoopbackService, registry: Registry) -> Serve:
    """A host whose `service` is `flext_service`, measured into `registry`."""

    def serve(*plugins: type, tables: dict[str, Any] | None = None, **service: Any) -> Host:
        named = {plugin.__name__.lower(): plugin for plugin in plugins}
        wanted = {"metrics": {}, **{name: {} for name in named}, **(tables or {})}
        config = {"base_url": flext_service.url, "plugins": wanted, **service}
        host = flext_world.host({"services": {"service": config}}, **named)
        host.provide(CollectorRegistry, registry)
        return host

    return serve
