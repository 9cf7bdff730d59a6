"""The circuit breaker keeps to the contract of plugins."""

from flext_plugins_circuit_breaker import CircuitBreaker

from flext_plugins.testing import PluginConformance


class TestCircuitBreaker(PluginConformance):
    plugin = CircuitBreaker
    settings = {"failure_threshold": 2, "recovery_timeout": 30}
