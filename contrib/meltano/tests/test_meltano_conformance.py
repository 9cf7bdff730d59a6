"""The plugin keeps to the contract of plugins."""

from flext_plugins_meltano import Meltano

from flext_plugins.testing import PluginConformance


class TestMeltano(PluginConformance):
    plugin = Meltano
    settings = {}
