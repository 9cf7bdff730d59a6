"""The plugin keeps to the contract of plugins."""

import pytest
from flext_plugins.testing import PluginConformance

from {{ cookiecutter.__package }} import {{ cookiecutter.__class }}


class Test{{ cookiecutter.__class }}(PluginConformance):
    plugin = {{ cookiecutter.__class }}
    settings = {"threshold": 0}

    @pytest.fixture(autouse=True)
    def nothing_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """For pytest would keep each line, and the rules see the memory grow."""
        caplog.set_level("CRITICAL", logger="{{ cookiecutter.__package }}")
