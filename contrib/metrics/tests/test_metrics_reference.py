"""The reference page says what the list says."""

import re
import subprocess
import sys
from pathlib import Path

from flext_plugins_metrics import DASHBOARD, NAMES, RULES

ROOT = Path(__file__).parents[3]


def test_the_reference_is_made_from_the_list() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools/metrics_reference.py")],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    assert page == made.stdout, "run tools/metrics_reference.py > docs/reference/metrics.md"


def test_the_service_is_the_first_label_of_all() -> None:
    assert {each.labels[0] for each in NAMES} == {"service"}


def test_dashboard_and_rules_ask_for_metrics_of_the_list() -> None:
    """And the dashboard for all of them."""
    known = {each.prometheus for each in NAMES}
    labels = {label for each in NAMES for label in each.labels}
    for file in (DASHBOARD, RULES):
        text = file.read_text(encoding="utf-8")
        asked = {*re.findall(r"\b((?:http_client|db_client|flext)_[a-z_]+)(?:\{|\[|\)| )", text)}
        asked = {
            name if name in known else re.sub(r"_(bucket|count|sum)$", "", name) for name in asked
        }
        assert asked - known - labels == set()
        assert file is not DASHBOARD or known - asked == set()
