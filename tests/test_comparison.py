"""What the comparison's page says of us is so, and it says everything that is measured."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import flext_plugins
from benchmarks.compare import libraries, table
from benchmarks.compare.measurement import measured

pytestmark = pytest.mark.once

RECORDED = table.recorded()
OURS = [
    pytest.param(group, each, id=each.name)
    for group in table.GROUPS
    for each in table.behaviours(group)
]


def test_the_page_shows_every_behaviour_and_library_that_is_measured():
    """As the code has them, in its order."""
    shown = {
        title: {sentence: list(cells) for sentence, cells in rows.items()}
        for title, rows in RECORDED.items()
        if title != "library"
    }
    assert shown == {
        module.TITLE: {
            each.sentence: list(libraries.TABLES[group]) for each in table.behaviours(group)
        }
        for group, module in table.GROUPS.items()
    }


def test_the_page_shows_the_versions_that_are_pinned():
    """What is newer was not measured."""
    pins = (table.PAGE.parents[2] / "benchmarks/compare/requirements.txt").read_text().split()
    versions = {name.strip("`"): row["version"] for name, row in RECORDED["library"].items()}
    assert versions.pop(libraries.OURS) == flext_plugins.__version__
    assert versions == dict(pin.split("==") for pin in pins)


@pytest.fixture(scope="module")
def outcomes():
    """What came of each behaviour; they wait more than they work, so several do at a time."""
    with ThreadPoolExecutor(6) as pool:
        yield {
            behaviour: pool.submit(measured, behaviour, libraries.adapter(group, libraries.OURS))
            for group in table.GROUPS
            for behaviour in table.behaviours(group)
        }


@pytest.mark.parametrize(("group", "behaviour"), OURS)
def test_ours_does_what_the_page_says(outcomes, group, behaviour):
    said = RECORDED[table.GROUPS[group].TITLE][behaviour.sentence][libraries.OURS]
    seen = str(outcomes[behaviour].result())
    if said.isdecimal():
        assert int(seen) <= int(said)  # how often something is sent
    else:
        assert seen == said
