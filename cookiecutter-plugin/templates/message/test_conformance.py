"""The plugin keeps to the contract of plugins."""

from flext_plugins.testing import PluginConformance

from {{ cookiecutter.__package }} import {{ cookiecutter.__class }}


class Test{{ cookiecutter.__class }}(PluginConformance):
    plugin = {{ cookiecutter.__class }}
    settings = {"client": "acme", "key": "a key of the tests"}
