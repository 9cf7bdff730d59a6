"""The plugin keeps to the contract of plugins."""

from pathlib import Path
from typing import Any

import pytest
from flext_plugins.testing import PluginConformance, Trial

from {{ cookiecutter.__package }} import {{ ['AsyncEntries', 'Entries', cookiecutter.__class] | sort | join(', ') }}


class Test{{ cookiecutter.__class }}(PluginConformance):
    plugin = {{ cookiecutter.__class }}

    @pytest.fixture(autouse=True)
    def a_folder_of_its_own(self, tmp_path: Path) -> None:
        self.settings = {"path": str(tmp_path / "entries.db")}

    async def exercise(self, trial: Trial) -> None:
        kind: type[Any] = AsyncEntries if trial.world.asynchronous else Entries
        entries = await trial.resource(kind)
        await trial.call(entries.put, "a", "b")
        assert await trial.call(entries.get, "a") == "b"
