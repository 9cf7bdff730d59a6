"""Metrics keep to the contract of plugins."""

from flext_plugins_metrics import Metrics
from prometheus_client import CollectorRegistry

from flext_plugins import Host
from flext_plugins.testing import PluginConformance


class TestMetrics(PluginConformance):
    plugin = Metrics

    def prepare(self, host: Host) -> None:
        host.provide(CollectorRegistry, CollectorRegistry())
