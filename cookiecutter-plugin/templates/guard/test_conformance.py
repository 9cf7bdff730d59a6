"""The plugin keeps to the contract of plugins."""

from flext_plugins.testing import Answer, PluginConformance

from {{ cookiecutter.__package }} import {{ cookiecutter.__class }}


class Test{{ cookiecutter.__class }}(PluginConformance):
    plugin = {{ cookiecutter.__class }}
    # The second begins a pause that outlasts every rule, so the first answer is an ordinary one.
    answers = (Answer(200), Answer(429, {"Retry-After": "30"}))
