"""Pipelines at FLEXT Service in a project: by a program in Meltano's place, and by Meltano."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from flext_plugins_devstack import Devstack, NotInstalled
from flext_plugins_devstack.cli import app
from typer.testing import CliRunner

from flext_plugins import ConfigError

EXECUTE = "/api/v1/pipelines/execute"
ROOT = Path(__file__).parents[3]
PROJECT = """
default_environment: dev
send_anonymous_usage_stats: false
project_id: 4f0c4d6e-77ab-4b0c-9a3e-1a0c5b0f7c11
environments: [{name: dev}]
plugins:
  extractors:
  - {name: tap-people, namespace: tap_people, executable: ./tap.py, capabilities: [],
     settings: [{name: rows, kind: integer}, {name: password, sensitive: true}]}
  loaders:
  - {name: target-file, namespace: target_file, executable: ./target.py}
"""
TAP = """#!{python}
import json, logging, os, sys
rows = int(os.environ.get("TAP_PEOPLE_ROWS", 3))
schema = {{"type": "object", "properties": {{"id": {{"type": "integer"}}}}}}
told = {{"type": "SCHEMA", "stream": "people", "schema": schema, "key_properties": ["id"]}}
print(json.dumps(told))
for number in range(rows):
    print(json.dumps({{"type": "RECORD", "stream": "people", "record": {{"id": number}}}}))
"""
TARGET = """#!{python}
import json, sys
records = [each for each in map(json.loads, sys.stdin) if each["type"] == "RECORD"]
open("out.jsonl", "w").writelines(json.dumps(each["record"]) + "\\n" for each in records)
"""
IN_ITS_PLACE = """#!{python}
import json, os, sys
rows = int(os.environ.get("TAP_PEOPLE_ROWS", 3))
tags = {{"stream": "people"}}
print(json.dumps({{"metric_info": {{"metric": "record_count", "value": rows, "tags": tags}}}}))
if rows > 100:
    codes = {{"extractors": 3, "loaders": 0}}
    told = {{"success": False, "err": "Extractor failed", "exit_codes": codes}}
    print(json.dumps({{"event": "Block run completed", **told}}))
    sys.exit(1)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "meltano.yml").write_text(PROJECT)
    for name, text in (("tap.py", TAP), ("target.py", TARGET), ("meltano", IN_ITS_PLACE)):
        (tmp_path / name).write_text(text.format(python=sys.executable))
        (tmp_path / name).chmod(0o755)
    return tmp_path


def execute(stack: Devstack, **job: Any) -> httpx.Response:
    body = {"tap": "tap-people", "target": "target-file", **job}
    url, headers = stack.flext_service.url + EXECUTE, {"Prefer": "wait=10"}
    return httpx.post(url, json=body, headers=headers, trust_env=False, timeout=20)


def test_a_project_runs_its_pipelines_and_has_no_built_in_data(project: Path) -> None:
    with Devstack(project=project, meltano={"meltano": str(project / "meltano")}) as stack:
        run = execute(stack, config={"rows": 20}).json()
        assert (run["status"], run["records"]) == ("succeeded", {"people": 20})
        assert run["exit_codes"] == {"meltano": 0}
        failed = execute(stack, config={"rows": 200}).json()
        assert (failed["status"], failed["error"]) == ("failed", "Extractor failed")
        assert failed["exit_codes"] == {"extractors": 3, "loaders": 0, "meltano": 1}
        unknown = execute(stack, tap="oracle-db-prod")
        assert unknown.status_code == 422
        assert "the project has no tap 'oracle-db-prod'" in unknown.json()["detail"]
        lines = httpx.get(stack.flext_service.url + "/metrics", trust_env=False).text
        assert 'flexcore_plugin_executions_total{plugin_name="meltano"} 2.0' in lines


def test_flexcore_forwards_into_a_project(project: Path) -> None:
    with Devstack(project=project, meltano={"meltano": str(project / "meltano")}) as stack:
        body = {"pipeline_config": {"tap": "tap-people", "target": "target-file"}}
        url = f"{stack.flexcore.url}/api/v1/flexcore/pipelines/nightly/execute"
        answer = httpx.post(url, json=body, trust_env=False).json()
        assert answer["execution"]["records"] == {"people": 3}


def test_settings_that_make_no_sense_are_told_before_anything_starts(project: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        Devstack(project=project / "elsewhere")
    with pytest.raises(ConfigError, match="parallel"):
        Devstack(project=project, meltano={"parallel": 0})


def test_a_project_without_the_plugin_says_what_to_install(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flext_plugins_meltano", None)
    with pytest.raises(NotInstalled, match="the devstack's extra meltano brings it"):
        Devstack(project=project)


def command(*arguments: str, **variables: str) -> "subprocess.Popen[str]":
    ports = [f"--{name}-port=0" for name in ("flexcore", "flext-service", "auth", "echo")]
    program = "from flext_plugins_devstack.cli import app; app()"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program, "up", *ports, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | variables,
    )


def test_the_command_runs_a_project_by_the_meltano_on_its_path(project: Path) -> None:
    path = f"{project}{os.pathsep}{os.environ['PATH']}"
    with command("--project", str(project), PATH=path) as process:
        assert process.stdout is not None
        try:
            said = iter(process.stdout.readline, "Ctrl-C stops.\n")
            (line,) = [each for each in said if each.startswith("flext-service")]
            assert line.endswith(f"(runs {project})\n")
            body = {"tap": "tap-people", "target": "target-file"}
            url = line.split()[1] + EXECUTE
            headers = {"Prefer": "wait=10"}
            run = httpx.post(url, json=body, headers=headers, trust_env=False, timeout=20).json()
            assert (run["status"], run["records"]) == ("succeeded", {"people": 3})
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")


def test_the_command_says_in_a_line_that_there_is_no_such_project(tmp_path: Path) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        done = CliRunner().invoke(app, ["up", "--project", str(tmp_path / "nowhere")])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "there is no folder" in done.stderr


@pytest.mark.slow
def test_meltano_runs_a_pipeline_of_a_project(project: Path) -> None:
    meltano = shutil.which("meltano", path=f"{ROOT / '.venv-meltano/bin'}:{os.environ['PATH']}")
    if meltano is None:
        missing = "there is no Meltano: make .venv-meltano/installed"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    body = {"pipeline_config": {"tap": "tap-people", "target": "target-file"}}
    with Devstack(project=project, meltano={"meltano": meltano}) as stack:
        url = f"{stack.flexcore.url}/api/v1/flexcore/pipelines/nightly/execute"
        answer = httpx.post(url, json=body, trust_env=False)
        assert answer.status_code in {200, 202}  # over within FlexCore's two seconds, or not
        run = answer.json()["execution"]["execution_id"]
        where = f"{stack.flext_service.url}/api/v1/pipelines/{run}/status"
        while (status := httpx.get(where, trust_env=False).json())["status"] in {
            "queued",
            "running",
        }:
            time.sleep(0.1)
    assert (status["status"], status["exit_codes"]["meltano"]) == ("succeeded", 0)
    written = (project / "out.jsonl").read_text().splitlines()
    assert [json.loads(each) for each in written] == [{"id": 0}, {"id": 1}, {"id": 2}]
