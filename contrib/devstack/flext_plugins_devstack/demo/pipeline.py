"""The act of the demo with a pipeline, from a file into a warehouse, a directory and a database."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from flext_plugins import Host, installed
from flext_plugins_devstack import directory, oracle, postgres
from flext_plugins_devstack.directory import DirectoryServer
from flext_plugins_devstack.oracle import OracleCompatibleServer
from flext_plugins_devstack.process import NotInstalled
from flext_plugins_devstack.stack import Devstack

from .checks import Skipped, environment, expect

if TYPE_CHECKING:
    from flext_plugins_ldap import Directory
    from flext_plugins_oracle import OracleDatabase

PLUGINS = ("ldap", "meltano", "oracle")
SECRETS = {
    "DIRECTORY_PASSWORD": ("ldap", "bind_password"),
    "DATABASE_USER": ("oracle", "username"),
    "DATABASE_PASSWORD": ("oracle", "password"),
}
"""The variables of the project's flext.toml, and the settings that it gives them to."""
LEFT = (".meltano", "*.jsonl", "*.duckdb*", "logs", "plugins", "target")
"""What runs leave in a project."""
INSTALLED = ("extractors", "loaders")
SECONDS = 300.0  # for the program, at most
FIRST, MORE = 2000, 20


def pipeline(project: Path, _: Devstack) -> Iterator[str]:
    """Run the pipeline of `project` for many changes by a service, and for a few by itself."""
    if problem := "; ".join(missing(project)):
        raise Skipped(problem)
    # Not before: the first act shows that no plugin has been imported.
    from flext_plugins_ldap import Directory  # noqa: PLC0415
    from flext_plugins_oracle import OracleDatabase  # noqa: PLC0415

    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="pipeline-")), "pipeline")
        copy(project, folder)
        stack = opened.enter_context(Devstack(project=folder))
        company = opened.enter_context(DirectoryServer())
        shop = opened.enter_context(OracleCompatibleServer())
        laid_over = variables(stack.flext_service.url, company, shop)
        opened.enter_context(environment(laid_over))
        host = opened.enter_context(Host.from_file(folder / "flext.toml"))
        people = host.resource("company", Directory)
        rows = host.resource("shop", OracleDatabase)
        rows.execute((folder / "customers.sql").read_text("utf-8"))
        yield from _run(folder, FIRST, "flext-service")
        expect("customers in the directory, in the database", (1994, 1992), _count(people, rows))
        yield from _run(folder, MORE, "project")
        expect("customers in the directory, in the database", (2003, 2011), _count(people, rows))


def missing(project: Path) -> Iterator[str]:
    """Tell what it needs that is not installed."""
    names = {each.name for each in installed()}
    for name in PLUGINS:
        if name not in names:
            yield f"flext-plugins-{name} is not installed"
    for find in (directory.program, postgres.programs, oracle.interpreter):
        try:
            find()
        except NotInstalled as error:
            yield str(error)
    for name in ("meltano", "dbt"):
        if shutil.which(name) is None:
            yield f"there is no {name} on the PATH"
    if not all((project / ".meltano" / each).is_dir() for each in INSTALLED):
        yield f"tap and target are not installed: meltano install, in {project}"


def copy(project: Path, folder: Path) -> None:
    """Copy a project without what its runs have left, and link what is installed for it."""
    left = shutil.ignore_patterns(*LEFT)
    shutil.copytree(project, folder, ignore=left)
    (folder / ".meltano").mkdir()
    for each in INSTALLED:
        (folder / ".meltano" / each).symlink_to((project / ".meltano" / each).resolve())


def variables(
    service: str, company: DirectoryServer, shop: OracleCompatibleServer
) -> dict[str, str]:
    """The variables that point the project's flext.toml at these servers; `service` is a URL."""
    settings = {"ldap": company.settings(), "oracle": shop.settings()}
    values = {name: f"{settings[of][key]}" for name, (of, key) in SECRETS.items()}
    for of, key in SECRETS.values():
        del settings[of][key]
    for name, of in (("COMPANY", "ldap"), ("SHOP", "oracle")):
        prefix = f"FLEXT__SERVICES__{name}__PLUGINS__{of.upper()}__"
        values |= {f"{prefix}{key.upper()}": f"{value}" for key, value in settings[of].items()}
    return values | {"FLEXT__SERVICES__FLEXT_SERVICE__BASE_URL": service}


def _run(folder: Path, count: int, service: str) -> Iterator[str]:
    """Have so many customers change, and the pipeline run; in a terminal it draws its bars."""
    for words in (["customers.py", "customers.jsonl", f"{count}"], ["pipeline.py", service]):
        yield f"$ python {' '.join(words)}"
        done = subprocess.run(  # noqa: S603 - the project's own
            [sys.executable, *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=None if sys.stderr.isatty() else subprocess.STDOUT,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )
        yield from done.stdout.splitlines()
        expect(f"exit status of {words[0]}", 0, done.returncode)


def _count(company: "Directory", shop: "OracleDatabase") -> tuple[int, int]:
    people = company.search("(uid=customer*)")
    ((rows,),) = shop.fetch("select count(*) from customers")
    return sum(1 for _ in people), int(rows)
