"""The example of a pipeline ends with the same at a service and on this machine, whatever comes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from flext_plugins_devstack import Devstack, DirectoryServer, OracleCompatibleServer
from flext_plugins_devstack.demo.pipeline import copy, missing, variables
from flext_plugins_ldap import Directory
from flext_plugins_oracle import OracleDatabase

from flext_plugins import Host

ROOT = Path(__file__).parent.parent
PROJECT = ROOT / "examples" / "pipeline"
sys.path.insert(0, str(PROJECT))

import customers  # noqa: E402

pytestmark = pytest.mark.slow

UNIT = "ou=customers,dc=flext,dc=test"
PROGRAMS = {name: ROOT / f".venv-{name}" / "bin" for name in ("meltano", "dbt")}


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Programs where `make` puts them."""
    monkeypatch.setenv("PATH", os.pathsep.join([os.environ["PATH"], *map(str, PROGRAMS.values())]))
    if problem := "; ".join(missing(PROJECT)):
        if os.environ.get("CI"):
            pytest.fail(problem, pytrace=False)
        pytest.skip(problem)


class Trial:
    """A copy of the project with servers of its own; pipelines are run by `service`."""

    def __init__(self, folder, service, opened):
        self.folder, self.service = folder / service, service
        copy(PROJECT, self.folder)
        stack = opened.enter_context(Devstack(project=self.folder))
        self.company = opened.enter_context(DirectoryServer())
        self.shop = opened.enter_context(OracleCompatibleServer())
        self.variables = variables(stack.flext_service.url, self.company, self.shop)
        config = {
            "company": {"plugins": {"ldap": self.company.settings()}},
            "shop": {"plugins": {"oracle": self.shop.settings()}},
        }
        self.host = opened.enter_context(Host({"services": config}))
        self.rows = self.host.resource("shop", OracleDatabase)
        self.rows.execute((PROJECT / "customers.sql").read_text("utf-8"))

    def run(self, problem=""):
        """What the program prints; with a `problem` it prints that, and exits with 1."""
        done = subprocess.run(
            [sys.executable, "pipeline.py", self.service],
            cwd=self.folder,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        # A database that is not there is warned of, and then missed: in the same words.
        assert len({*done.stderr.splitlines()}) == (1 if problem else 0), done.stderr
        assert problem in done.stderr
        assert done.returncode == (1 if problem else 0)
        return done.stdout.splitlines()

    def end(self):
        """What the directory and the database have."""
        people = self.host.resource("company", Directory).search("(uid=*)", base=UNIT)
        return (
            sorted((each.dn, sorted(each.attributes.items())) for each in people),
            sorted(self.rows.fetch("select revision, id, name, email, country from customers")),
        )


def tried(folder, service):
    """What two runs print and leave behind; before the second one, the database is gone once."""
    with ExitStack() as opened:
        trial = Trial(folder, service, opened)
        customers.append(trial.folder / "customers.jsonl", 2000)
        first = trial.run()
        customers.append(trial.folder / "customers.jsonl", 20)
        trial.shop.down()
        assert trial.run("shop: oracle: ") == []
        trial.shop.up()
        return first, trial.run(), trial.end()


def shown():
    """What the page says that the first run prints."""
    page = (PROJECT / "README.md").read_text("utf-8")
    (block,) = re.findall(r"\n\$ python pipeline\.py flext-service\n(.*?)\n```", page, re.DOTALL)
    return block.splitlines()


def test_what_was_bad_is_named_and_all_else_comes_once_and_alike_through_both_interfaces(tmp_path):
    services = ["flext-service", "project"]
    with ThreadPoolExecutor(len(services)) as pool:
        by_service, here = pool.map(lambda service: tried(tmp_path, service), services)
    assert by_service == here
    first, second, (people, rows) = here
    spoiled = {144, 500, 1144, 1500}
    assert first == shown()
    assert second[0] == "extracted: 0 changes"  # the run that failed had come so far
    assert second[-2:] == [
        "directory: 9 added, 10 modified",
        "database: 19 loaded, 0 refused",
    ]
    assert "tap-customers: customers.jsonl, line 2017: it is no JSON" in second

    unread = {number for number in range(1, 2021) if number % 1000 in {17, 58}}
    loaded = set(range(1, 2021)) - unread - spoiled
    assert [row[0] for row in rows] == sorted(loaded)
    assert rows[0][1:] == (1, "Bob Jones", "customer1@flext.test", "US")
    assert len(people) == 2003
    names = {dn: dict(attributes)["cn"] for dn, attributes in people}
    assert names[f"uid=customer2,{UNIT}"] == ("Ana Silva",)  # since revision 2002
    assert names[f"uid=customer3,{UNIT}"] == ("Dörte Groß",)
