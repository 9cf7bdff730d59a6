"""The plugin keeps to the contract of plugins."""

from flext_plugins.testing import Answer, PluginConformance

from {{ cookiecutter.__package }} import {{ cookiecutter.__class }}


class Test{{ cookiecutter.__class }}(PluginConformance):
    plugin = {{ cookiecutter.__class }}
    settings = {"longest": 1e-9}  # over at once, so that the rules' own requests are sent
    answers = (Answer(429, {"Retry-After": "7"}), Answer(200))
