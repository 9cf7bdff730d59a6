"""The example of a pipeline ends with the same at a service and on this machine, whatever comes."""

from __future__ import annotations

import json
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
import pipeline  # noqa: E402
from installed import or_skipped  # noqa: E402

pytestmark = pytest.mark.once

UNIT = "ou=customers,dc=flext,dc=test"
PROGRAMS = {name: ROOT / f".venv-{name}" / "bin" for name in ("meltano", "dbt")}


@pytest.fixture
def programs(monkeypatch):
    """Programs where `make` puts them."""
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, PROGRAMS.values()), os.environ["PATH"]]))
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
        assert done.stderr.count("\n") == (1 if problem else 0), done.stderr
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
    """What two runs print and leave behind; before the second, the directory and more are gone."""
    with ExitStack() as opened:
        trial = Trial(folder, service, opened)
        customers.append(trial.folder / "customers.jsonl", 2000)
        first = trial.run()
        customers.append(trial.folder / "customers.jsonl", 20)
        for server, problem in (trial.company, "company: ldap: "), (trial.shop, "shop: oracle: "):
            server.down()
            assert trial.run(problem) == []
            server.up()
        return first, trial.run(), trial.end()


def shown():
    """What the page says that the first run prints."""
    page = (PROJECT / "README.md").read_text("utf-8")
    (block,) = re.findall(r"\n\$ python pipeline\.py flext-service\n(.*?)\n```", page, re.DOTALL)
    return block.splitlines()


@pytest.mark.slow
@pytest.mark.usefixtures("programs")
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
    assert "extracted: 0 changes" in second
    assert not any("line 17:" in line for line in second)  # what was reported is not again

    unread = {number for number in range(1, 2021) if number % 1000 in {17, 58}}
    loaded = set(range(1, 2021)) - unread - spoiled
    assert [row[0] for row in rows] == sorted(loaded)
    assert rows[0][1:] == (1, "Bob Jones", "customer1@flext.test", "US")
    assert len(people) == 2003
    names = {dn: dict(attributes)["cn"] for dn, attributes in people}
    assert names[f"uid=customer2,{UNIT}"] == ("Ana Silva",)  # since revision 2002
    assert names[f"uid=customer3,{UNIT}"] == ("Dörte Groß",)


def test_what_a_customer_has_no_longer_is_gone_from_the_directory():
    with or_skipped():
        company = DirectoryServer()
    with (
        company,
        Host({"services": {"company": {"plugins": {"ldap": company.settings()}}}}) as host,
    ):
        directory = host.resource("company", Directory)
        customer = {"id": 1, "name": "Ana Silva", "email": "ana@flext.test"}
        for each in customer, customer | {"email": None}:
            unit, upserted = directory.upsert([pipeline.unit(), pipeline.entry(each)])
            assert (unit.error, upserted.error) == (None, None)
        (entry,) = directory.search("(uid=customer1)")
        assert "mail" not in entry.attributes
        assert entry.attributes["sn"] == ("Silva",)


# The tap


def extracted(folder, lines, last=None):
    """The revisions that a run hands on, what it reports, and its exit status."""
    (folder / "customers.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    (folder / "config.json").write_text(json.dumps({"path": str(folder / "customers.jsonl")}))
    words = [sys.executable, PROJECT / "tap-customers" / "tap_customers.py", "--config=config.json"]
    if last is not None:
        kept = {"replication_key": "revision", "replication_key_value": last}
        (folder / "state.json").write_text(json.dumps({"bookmarks": {"customers": kept}}))
        words.append("--state=state.json")
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    revisions = [each["record"]["revision"] for each in messages if each["type"] == "RECORD"]
    reported = re.findall(r"customers[.]jsonl, (line \d+: .*)", done.stderr)
    return revisions, reported, done.returncode


def change(revision, **more):
    return json.dumps({"revision": revision, "id": 1, **more}).encode()


def test_the_tap_hands_on_what_is_newer_than_its_state(tmp_path):
    lines = [change(1), change(2), change(5)]
    assert extracted(tmp_path, lines) == ([1, 2, 5], [], 0)
    assert extracted(tmp_path, lines, last=2) == ([5], [], 0)
    assert extracted(tmp_path, lines, last=5) == ([], [], 0)
    assert extracted(tmp_path, []) == ([], [], 0)


NOT_CUSTOMERS = {
    b"nonsense": "not JSON",
    b"[" * 100_000: "not JSON",
    b"\xff": "not JSON",
    change(2, name="\ud800"): "not JSON",
    b"[]": "$: expected type object",
    b'{"revision": 2}': "$: expected required ['revision', 'id']",
    b'{"revision": 2.0, "id": 1}': "$.revision: expected type ['integer']",
    b'{"revision": 1e300, "id": 1}': "$.revision: expected type ['integer']",
    b'{"revision": true, "id": 1}': "$.revision: expected type ['integer']",
    change(10**40): "$.revision: expected maximum 999999999",
    change(0): "$.revision: expected minimum 1",
    change(2, name=7): "$.name: expected type ['string', 'null']",
}


def test_the_tap_leaves_out_what_is_not_a_customer_and_says_where(tmp_path):
    lines = [change(1), *NOT_CUSTOMERS, change(3)]
    reported = [f"line {number}: {why}" for number, why in enumerate(NOT_CUSTOMERS.values(), 2)]
    assert extracted(tmp_path, lines) == ([1, 3], reported, 0)
    assert extracted(tmp_path, lines[:-1], last=1) == ([], reported, 0)
    assert extracted(tmp_path, lines, last=3) == ([], [], 0)  # an earlier run has reported them


@pytest.mark.parametrize("last", [None, 2, 30, 40])
def test_the_tap_fails_at_a_revision_that_would_be_passed_over(tmp_path, last):
    lines = [change(1), change(2), change(30), change(3), change(40)]
    revisions, reported, code = extracted(tmp_path, lines, last)
    assert reported == ["line 4: revision not above 30"]
    assert revisions == [each for each in (1, 2, 30) if each > (last or 0)]
    assert code != 0
