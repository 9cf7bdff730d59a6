"""What each distribution depends on, under which licence and why, as the page says it."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/dependencies.md"
PYPROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("contrib/*/pyproject.toml"))]

ALLOWED = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MPL-2.0", "PSF-2.0"}
ALONE = {"ldap3": "LGPL-3.0", "text-unidecode": "Artistic License"}
"""The exceptions: both are used as they are published, and come with something optional."""
UNDECLARED = {"cookiecutter": "BSD-3-Clause", "python-dateutil": "Apache-2.0 OR BSD-3-Clause"}
"""What the files LICENSE say of those whose metadata do not."""
BROUGHT = {*ALLOWED, "ISC", "MIT-0"}
"""For what the direct dependencies bring: two of those packages have MIT in fewer words."""
SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "LGPL v3": "LGPL-3.0",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


def direct(path):
    """(extra, requirement, reason) of others' packages; the reason is the comment beside it."""
    extra = ""
    project = path.read_text(encoding="utf-8").partition("\n[tool.")[0]
    for line in project.splitlines():
        if begin := re.match(r"(\S+) = \[", line):
            extra = begin[1]
        elif extra not in {"classifiers", "requires"}:
            one = re.match(r' +"((?!flext-plugins)\w[^" ]*)",(?: +# (.*))?$', line)
            if one:
                yield extra.replace("dependencies", ""), one[1], one[2] or ""


def declared(path):
    """(extra, requirement) as tools read them."""
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    extras = {"": project["dependencies"], **project.get("optional-dependencies", {})}
    everything = [(extra, each) for extra, some in extras.items() for each in some]
    return [pair for pair in everything if not pair[1].startswith("flext-plugins")]


def documented(name):
    """(extra, requirement, licence, release, reason) in the page's table of a distribution."""
    (section,) = re.findall(
        rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    rows = [
        [cell.strip().strip("`") for cell in row.split("|")[1:-1]]
        for row in re.findall(r"^\|.*\|$", section, re.MULTILINE)
    ]
    return rows[2:]


def name_of(path):
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]


def licence(name):
    """The SPDX expression that an installed distribution declares, in one spelling."""
    if name in UNDECLARED:
        return UNDECLARED[name]
    metadata = distribution(name).metadata
    classified = [
        each.rpartition(" :: ")[2]
        for each in metadata.get_all("Classifier") or ()
        if each.startswith("License ::")
    ]
    said = metadata.get("License-Expression") or metadata.get("License") or " OR ".join(classified)
    return SPELLINGS.get(said, said)


def is_allowed(name, expression, allowed):
    alternatives = [{*each.split(" AND ")} for each in expression.split(" OR ")]
    return ALONE.get(name) == expression or any(each <= allowed for each in alternatives)


def brought(requirements):
    """Names of all that these requirements install here, themselves included."""
    done, todo = set(), [Requirement(each) for each in requirements]
    while todo:
        one = todo.pop()
        if (key := (one.name.lower().replace("_", "-"), *sorted(one.extras))) not in done:
            done.add(key)
            for each in map(Requirement, distribution(one.name).requires or ()):
                extras = ("", *one.extras)
                if not each.marker or any(each.marker.evaluate({"extra": x}) for x in extras):
                    todo.append(each)
    return sorted({name for name, *_ in done})


@pytest.mark.parametrize("path", PYPROJECTS, ids=name_of)
def test_every_dependency_has_its_reason_beside_it(path):
    assert [(extra, requirement) for extra, requirement, _ in direct(path)] == declared(path)
    assert [requirement for _, requirement, reason in direct(path) if not reason] == []


@pytest.mark.parametrize("path", PYPROJECTS, ids=name_of)
def test_the_page_says_what_the_distribution_declares(path):
    said = [(extra, needed, reason) for extra, needed, _, _, reason in documented(name_of(path))]
    assert said == [*direct(path)]


@pytest.mark.parametrize("path", PYPROJECTS, ids=name_of)
def test_the_page_names_the_licences_of_what_is_installed(path):
    rows = documented(name_of(path))
    assert [(needed, said) for _, needed, said, *_ in rows] == [
        (needed, licence(Requirement(needed).name)) for _, needed, *_ in rows
    ]


def test_every_distribution_has_a_table_and_each_release_a_version_and_a_month():
    headings = re.findall(
        r"^## (flext-plugins\S*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert headings == [name_of(path) for path in PYPROJECTS]
    releases = [release for each in headings for *_, release, _ in documented(each)]
    assert [each for each in releases if not re.fullmatch(r"[\d.]+, 20\d\d-[01]\d", each)] == []


@pytest.mark.parametrize("path", PYPROJECTS, ids=name_of)
def test_the_licences_of_dependencies_are_allowed(path):
    names = [Requirement(needed).name for _, needed in declared(path)]
    assert [each for each in names if not is_allowed(each, licence(each), ALLOWED)] == []


def test_so_are_those_of_all_that_dependencies_bring():
    names = brought(needed for path in PYPROJECTS for _, needed in declared(path))
    assert {"certifi", "cryptography", "pyasn1"} <= {*names}
    refused = [each for each in names if not is_allowed(each, licence(each), BROUGHT)]
    assert [(each, licence(each)) for each in refused] == []


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("LGPL-3.0", False),
        ("", False),
        ("UNKNOWN", False),
    ],
)
def test_a_licence_is_allowed_by_its_alternatives(expression, allowed):
    assert is_allowed("any", expression, ALLOWED) is allowed


def test_ldap3_is_used_where_the_page_says_and_nowhere_else():
    """The place to change if it has to be replaced."""
    folder = ROOT / "contrib/ldap/flext_plugins_ldap"
    users = {
        path.name
        for path in folder.glob("*.py")
        if re.search(r"^\s*(from|import) (ldap3|\.library)\b", path.read_text(), re.MULTILINE)
    }
    page = PAGE.read_text(encoding="utf-8").partition("## What if ldap3")[2]
    assert users == {*re.findall(r"`(\w+\.py)`", page)}
