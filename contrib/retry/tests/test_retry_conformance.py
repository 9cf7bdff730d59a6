"""Retry keeps to the contract of plugins."""

from flext_plugins_retry import Retry

from flext_plugins.testing import PluginConformance


class TestRetry(PluginConformance):
    plugin = Retry
    settings = {"backoff": 0.001}


class TestRetryWithKey(PluginConformance):
    plugin = Retry
    settings = {"backoff": 0.001, "idempotency_key": True}
