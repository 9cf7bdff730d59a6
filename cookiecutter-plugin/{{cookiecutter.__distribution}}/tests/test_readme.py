"""The README says what can be set."""

import re
from pathlib import Path

from {{ cookiecutter.__package }} import {{ cookiecutter.__class }}Settings

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_has_a_row_for_each_setting() -> None:
    rows = re.findall(r"^\| `(\w+)` +\|", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [*{{ cookiecutter.__class }}Settings.model_fields]
