"""A project of Meltano's and dbt's, with programs that are quick, and a host that runs it."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_meltano import AsyncPipelines, Meltano, Pipelines

from flext_plugins import Host
from flext_plugins.testing import World

sys.path.insert(0, str(Path(__file__).parent))
from programs import DBT, MELTANO, program

PROJECT = """
default_environment: dev
environments:
- name: dev
- name: prod
plugins:
  extractors:
  - name: tap-shop
    settings: [{name: do}, {name: password, sensitive: true}, {name: rows.most}]
  loaders:
  - name: target-lake
  utilities:
  - name: dbt-duckdb
    commands: {build: build}
jobs:
- name: nightly
  tasks: [tap-shop target-lake]
"""


class Shop:
    """A project on disk, and what its programs have been told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "meltano.yml").write_text(PROJECT)
        self.meltano = program(folder, "meltano", MELTANO)
        self.transform = folder / "transform"
        (self.transform / "models").mkdir(parents=True)
        (self.transform / "dbt_project.yml").write_text("name: shop\n")
        (self.transform / "profiles.yml").write_text("shop: {}\n")
        (self.transform / "models" / "customers.sql").write_text("select 1\n")
        self.dbt = program(folder, "dbt", DBT)

    def settings(self, **more: Any) -> dict[str, Any]:
        """The plugin's settings for it."""
        return {
            "project": str(self.folder),
            "meltano": str(self.meltano),
            "dbt": str(self.dbt),
            "kill_after": 1.0,
            **more,
        }

    def calls(self, name: str = "calls.jsonl") -> list[dict[str, Any]]:
        """What Meltano, or dbt, was called with."""
        file = (self.transform if name.startswith("dbt") else self.folder) / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def left(self) -> list[Path]:
        """Files with settings that are left on disk."""
        return [*(self.folder / ".meltano" / "run").rglob("*.config.json")]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A project whose tap does what its setting `do` lists."""
    return Shop(tmp_path)


@pytest.fixture(params=["httpx sync", "httpx async"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Threads, and an event loop."""
    with World(request.param) as made:
        yield made


class Lent:
    """Pipelines in one of two worlds; runs are driven to their end by `world.run`."""

    def __init__(self, world: World, host: Host) -> None:
        self.world, self.host = world, host
        kind = AsyncPipelines if world.asynchronous else Pipelines
        self.pipelines = world.resource(host, kind)

    def submit(self, method: str, *args: Any, **options: Any) -> "Submitted":
        work = getattr(self.pipelines, method)
        return Submitted(self.world, self.world.run(lambda: work(*args, **options)))

    def until(self, check: Callable[[], object], seconds: float = 20.0) -> None:
        """Let it go on until `check()` is true."""
        end = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < end, "it did not come to that"
            if self.world.asynchronous:
                self.world.run(lambda: asyncio.sleep(0.01))
            else:
                time.sleep(0.01)

    def close(self) -> None:
        """Close the host."""
        self.world.close(self.host)

    def execute(self, *steps: list[Any], **options: Any) -> "Submitted":
        """Submit the shop's tap, which does these steps."""
        config = {"do": json.dumps(steps), **options.pop("config", {})}
        return self.submit("execute", "tap-shop", "target-lake", config=config, **options)


class Submitted:
    """A run, whose methods are driven to their end."""

    def __init__(self, world: World, run: Any) -> None:
        self.world, self.run, self.id = world, run, run.id

    def status(self) -> Any:
        return self.world.run(self.run.status)

    def wait(self, *args: Any, **options: Any) -> Any:
        return self.world.run(lambda: self.run.wait(*args, **options))

    def cancel(self) -> None:
        self.world.run(self.run.cancel)


Lend = Callable[..., Lent]


@pytest.fixture
def lend(world: World, shop: Shop) -> Lend:
    """Lends the shop's pipelines; `service` and `plugins` are more of the configuration."""

    def lend(
        service: dict[str, Any] | None = None,
        plugins: dict[str, Any] | None = None,
        register: dict[str, type] | None = None,
        **settings: Any,
    ) -> Lent:
        tables = {"pipelines": shop.settings(**settings), **(plugins or {})}
        tables |= {each: {} for each in register or {}}
        config = {"services": {"service": {"plugins": tables, **(service or {})}}}
        return Lent(world, world.host(config, pipelines=Meltano, **(register or {})))

    return lend
