"""Tracing keeps to the contract of plugins."""

from flext_plugins_tracing import Tracing
from opentelemetry.sdk.trace import TracerProvider

from flext_plugins import Host
from flext_plugins.testing import PluginConformance


class TestTracing(PluginConformance):
    plugin = Tracing

    def prepare(self, host: Host) -> None:
        host.provide(TracerProvider, TracerProvider())


class TestTracingToTheConsole(PluginConformance):
    plugin = Tracing
    settings = {"exporter": "console"}
