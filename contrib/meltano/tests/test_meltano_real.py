"""Runs of the real Meltano and the real dbt, which live in environments of their own."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_meltano import RunCancelled, RunFailed
from test_meltano_local import SECRET, ended

pytestmark = [
    pytest.mark.slow,
    # The other world has the same programs started in the same way: test_meltano_local.py.
    pytest.mark.parametrize("world", ["httpx async"], indirect=True),
]

ROOT = Path(__file__).parents[3]
TAP = """
import json, os, pathlib, sys, time
words = sys.argv[1:]
config = json.load(open(words[words.index("--config") + 1])) if "--config" in words else {}
schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
if "--discover" in words:
    streams = [{"tap_stream_id": "orders", "stream": "orders", "schema": schema, "metadata": []}]
    print(json.dumps({"streams": streams}))
    sys.exit()
state = json.load(open(words[words.index("--state") + 1])) if "--state" in words else {}
first = state.get("next", 0)
print(json.dumps({"type": "SCHEMA", "stream": "orders", "schema": schema, "key_properties": []}))
for number in range(first, int(config["rows"])):
    print(json.dumps({"type": "RECORD", "stream": "orders", "record": {"id": number}}))
print(json.dumps({"type": "STATE", "value": {"next": int(config["rows"])}}), flush=True)
if config.get("complain"):
    print("ERROR one row was bad", file=sys.stderr)
if config.get("sleep"):
    pathlib.Path("ready").write_text(str(os.getpid()))
    time.sleep(600)
sys.exit(int(config.get("code", 0)))
"""
TARGET = """
import json, sys
with open("orders.jsonl", "a") as file:
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "RECORD":
            file.write(json.dumps(message["record"]) + "\\n")
        elif message["type"] == "STATE":
            print(json.dumps(message["value"]), flush=True)
"""
PROJECT = """
default_environment: dev
send_anonymous_usage_stats: false
environments: [{name: dev}]
plugins:
  extractors:
  - name: tap-orders
    namespace: tap_orders
    executable: ./tap.py
    capabilities: [catalog, discover, state]
    settings:
    - {name: rows}
    - {name: complain}
    - {name: sleep}
    - {name: code}
    - {name: password, sensitive: true}
  loaders:
  - name: target-file
    namespace: target_file
    executable: ./target.py
"""
DBT = {
    "dbt_project.yml": "name: shop\nversion: 1.0.0\nprofile: shop\n",
    "profiles.yml": "shop: {target: dev, outputs: {dev: {type: duckdb, path: 'shop.duckdb'}}}\n",
    "models/customers.sql": "select 1 as id union all select {{ var('second', 2) }} as id\n",
    "models/schema.yml": (
        "models: [{name: customers, columns: [{name: id, data_tests: [unique]}]}]\n"
    ),
}


def real(name: str) -> str:
    """The program of that name, in the environment that is made for it."""
    found = shutil.which(name, path=str(ROOT / f".venv-{name}" / "bin"))
    if found is None:
        missing = f"there is no {name}: make .venv-{name}/installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture
def orders(shop: Any) -> Any:
    """A project whose tap and target are ours, and whose Meltano is not."""
    (shop.folder / "meltano.yml").write_text(PROJECT)
    for name, text in {"tap.py": TAP, "target.py": TARGET}.items():
        (shop.folder / name).write_text(f"#!{sys.executable} -IS\n{text}")
        (shop.folder / name).chmod(0o755)
    shop.meltano = Path(real("meltano"))
    return shop


def test_meltano_moves_what_is_new_and_survives_its_own_end(orders: Any, lend: Any) -> None:
    lent = lend()
    moved = orders.folder / "orders.jsonl"

    def run(**config: Any) -> Any:
        return lent.submit("execute", "tap-orders", "target-file", config=config)

    assert run(rows=3).wait().state == "succeeded"
    status = run(rows=5, complain="1").wait()
    assert status.complaints == ("tap-orders: ERROR one row was bad",)
    assert len(moved.read_text().splitlines()) == 5
    with pytest.raises(RunFailed, match="Extractor failed") as caught:
        run(rows=5, code=3).wait()
    assert caught.value.status.exit_codes == {"extractors": 3, "meltano": 1}
    assert orders.left == []

    cut_off = run(rows=5, sleep="1", password=SECRET)
    lent.until((orders.folder / "ready").exists, 60)
    tap = int((orders.folder / "ready").read_text())
    assert orders.left != []
    assert all(each.stat().st_mode & 0o077 == 0 for each in orders.left)
    os.kill(os.getpgid(tap), signal.SIGKILL)  # Meltano alone: its process leads the group
    with pytest.raises(RunFailed, match="-9"):
        cut_off.wait()
    assert ended(tap)
    assert orders.left == []

    assert run(rows=6).wait().state == "succeeded"  # Meltano itself would refuse it for 5 minutes
    assert len(moved.read_text().splitlines()) == 6
    (orders.folder / "ready").unlink()
    cancelled = run(rows=6, sleep="1", password=SECRET)
    lent.until((orders.folder / "ready").exists, 60)
    cancelled.cancel()
    with pytest.raises(RunCancelled):
        cancelled.wait()
    assert ended(int((orders.folder / "ready").read_text()))
    assert orders.left == []


def test_dbt_builds_and_a_failing_test_is_named(shop: Any, lend: Any) -> None:
    for name, text in DBT.items():
        file = shop.transform / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    shop.dbt = Path(real("dbt"))
    lent = lend()
    assert lent.submit("dbt", "customers").wait(120).exit_codes == {"dbt": 0}
    with pytest.raises(RunFailed, match="unique_customers_id") as caught:
        lent.submit("dbt", "customers", vars={"second": 1}).wait(120)
    (failure,) = caught.value.status.failures
    assert failure.startswith("test.shop.unique_customers_id")
