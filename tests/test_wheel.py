"""Distributions as their users get them: a wheel, pip, a fresh environment, and gone after uninstall."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import flext_plugins

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
VERSION = flext_plugins.__version__
NEWER = f"{VERSION.partition('.')[0]}.99.0"
OURS = {"flext-plugins": ROOT} | {
    f"flext-plugins-{path.parent.name}": path.parent
    for path in sorted(ROOT.glob("contrib/*/pyproject.toml"))
}
PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "acme-flext-tenant"
version = "2.3.4"
dependencies = ["flext-plugins>=1,<2"]

[project.entry-points.flext_plugins]
tenant = "acme_flext_tenant:Tenant"

[tool.hatch.build.targets.wheel]
include = ["acme_flext_tenant.py"]
"""
PLUGIN = """
from pydantic import BaseModel

from flext_plugins import hookimpl


class TenantSettings(BaseModel):
    tenant: str


class Tenant:
    Settings = TenantSettings

    def __init__(self, settings):
        self.tenant = settings.tenant

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Tenant"] = self.tenant
"""
LOOK = """
import json, sys
from importlib.metadata import distribution
import flext_plugins
from flext_plugins import Host, PluginNotFound, installed

found = [each for each in installed() if each.name == "tenant"]
records = [[each.distribution, each.version, each.target, each.status] for each in found]
seen = {"records": records, "home": flext_plugins.__file__, "requests": []}
host = Host({"services": {
    "plain": {"base_url": sys.argv[1]},
    "a": {"base_url": sys.argv[1], "plugins": {"tenant": {"tenant": "acme"}}},
}})
with host:
    for service in ("plain", "a"):
        try:
            with host.connect(service) as client:
                seen["requests"].append(client.get("/").json()["headers"].get("x-tenant"))
        except PluginNotFound as error:
            seen["error"] = str(error)
        seen[f"imported for {service}"] = "acme_flext_tenant" in sys.modules
print(json.dumps(seen))
"""
FIRST_CALL = """
import json, os
import flext_plugins
from flext_plugins import Host
from flext_plugins_devstack import Devstack
from prometheus_client import REGISTRY

with Devstack() as stack:
    os.environ["FLEXT__SERVICES__ECHO__BASE_URL"] = stack.echo.url
    with Host.from_file("flext.toml") as host, host.connect("echo") as client:
        response = client.get("/orders")
calls = [each.value for family in REGISTRY.collect() for each in family.samples
         if each.name == "flext_calls_total" and each.labels["service"] == "echo"]
print(json.dumps({
    "home": flext_plugins.__file__,
    "authorization": response.json()["headers"]["authorization"],
    "calls": calls,
}))
"""
CONFIGURATION = """
[services.echo]
base_url = "http://127.0.0.1:8090"

[services.echo.plugins]
circuit-breaker = {}
metrics = {}
retry = {}
tracing = {}

[services.echo.plugins.auth]
scheme = "bearer"
token = "env:ECHO_TOKEN"
"""


def run(*command, cwd, **variables):
    done = subprocess.run(
        [str(each) for each in command],
        check=False,
        cwd=cwd,
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wheel(project, folder):
    """The wheel of a project, built without a network."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=project)
    (built,) = folder.glob("*.whl")
    return built


def test_a_plugin_from_a_wheel_works_until_it_is_uninstalled(flext_service, tmp_path):
    pytest.importorskip("hatchling")
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "acme_flext_tenant.py").write_text(PLUGIN)
    wheels = [wheel(ROOT, tmp_path / "ours"), wheel(project, tmp_path / "theirs")]

    run(sys.executable, "-m", "venv", "--without-pip", "fresh", cwd=tmp_path)
    python = next((tmp_path / "fresh").glob("[bS]*/python*"))
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "-q")
    run(*pip, "install", "--no-deps", "--no-index", *wheels, cwd=tmp_path)
    site = Path(
        run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
        ).strip()
    )
    # What we depend on comes from here, behind what was installed there.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    def look():
        return json.loads(run(python, "-c", LOOK, flext_service.url, cwd=tmp_path))

    seen = look()
    assert Path(seen["home"]).is_relative_to(site)
    assert seen["records"] == [["acme-flext-tenant", "2.3.4", "acme_flext_tenant:Tenant", "ready"]]
    assert seen["requests"] == [None, "acme"]
    assert not seen["imported for plain"]
    assert seen["imported for a"]

    run(*pip, "uninstall", "-y", "acme-flext-tenant", cwd=tmp_path)
    seen = look()
    assert seen["records"] == []
    assert seen["requests"] == [None]
    assert "no installed plugin is named 'tenant'" in seen["error"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder as `make wheels` leaves it, which had wheels of an older version, and what it printed."""
    folder = tmp_path_factory.mktemp("built") / "dist"
    folder.mkdir()
    (folder / "flext_plugins_auth-0.9.0-py3-none-any.whl").touch()
    (folder / "flext_plugins_auth-0.9.0.tar.gz").touch()
    return folder, make("wheels", folder)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """A folder for pip to look into, where somebody has put newer ones of all our distributions."""
    folder = tmp_path_factory.mktemp("strangers")
    for name in OURS:
        stem = f"{name.replace('-', '_')}-{NEWER}"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {NEWER}\n"
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", metadata)
            wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return folder


@pytest.fixture(scope="module")
def python(built, strangers, tmp_path_factory):
    """The interpreter of a fresh environment, in which the printed line was run while strangers' were to be had."""
    _, line = built
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", "env", cwd=folder)
    python = next((folder / "env").glob("[bS]*/python*"))
    program, *arguments = shlex.split(line)
    assert program == "pip"
    constraints = ("--no-compile", "-c", ROOT / "constraints.txt")
    pip(*arguments, *constraints, python=python, links=[strangers])
    return python


def make(target, folder):
    # What the `make` that runs the tests was told is not for this one.
    variables = dict.fromkeys(("MAKEFLAGS", "MFLAGS", "MAKELEVEL"), "")
    return run("make", "--silent", target, f"DIST={folder}", cwd=ROOT, **variables)


def pip(*arguments, links, python=sys.executable, **variables):
    """Run pip for an interpreter; it looks into these folders beside wherever else it does."""
    where = " ".join(map(str, [*os.environ.get("PIP_FIND_LINKS", "").split(), *links]))
    command = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "-q")
    return run(*command, *arguments, cwd=ROOT, PIP_FIND_LINKS=where, **variables)


def versions(python):
    """The versions of our distributions in the environment of that interpreter."""
    program = (
        "import json; from importlib.metadata import distributions as installed;"
        "print(json.dumps({each.name: each.version for each in installed()}))"
    )
    every = json.loads(run(python, "-P", "-c", program, cwd=ROOT))
    return {name: version for name, version in every.items() if name.startswith("flext-plugins")}


def test_make_wheels_leaves_one_of_each_and_prints_the_line_that_installs_them(built):
    folder, line = built
    stems = {f"{name.replace('-', '_')}-{VERSION}" for name in OURS}
    wheels = {f"{stem}-py3-none-any.whl" for stem in stems}
    assert {each.name for each in folder.iterdir()} == wheels | {f"{stem}.tar.gz" for stem in stems}
    host = f"{folder}/flext_plugins-{VERSION}-py3-none-any.whl"
    others = sorted(str(folder / each) for each in wheels if not host.endswith(each))
    assert line == f"pip install '{host}[standard,cli]' {' '.join(others)}\n"


def test_an_index_would_take_all_of_them(built):
    folder, _ = built
    assert make("check-wheels", folder).count("PASSED") == 2 * len(OURS)


def files_below(folder):
    return {
        str(path.relative_to(folder.parent))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("name", OURS)
def test_a_wheel_has_the_package_and_the_licence_and_its_sdist_what_builds_it(built, name):
    folder, _ = built
    package = name.replace("-", "_")
    stem = f"{package}-{VERSION}"
    files = files_below(OURS[name] / package)
    # The template of `flext-plugins new`, which lies in the command's folder once it is built.
    template = files_below(ROOT / "cookiecutter-plugin") if name == "flext-plugins" else set()
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
        assert wheel.read(f"{stem}.dist-info/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        about = wheel.read(f"{stem}.dist-info/METADATA").decode()
    packaged = files | {f"flext_plugins/cli/{each}" for each in template}
    assert {each for each in names if not each.startswith(f"{stem}.dist-info/")} == packaged
    assert {"License-Expression: MIT", "License-File: LICENSE"} < {*about.splitlines()}
    assert (OURS[name] / "README.md").read_text() in about

    with tarfile.open(folder / f"{stem}.tar.gz") as sdist:
        names = {each.partition("/")[2] for each in sdist.getnames()}
    # Tests are not in it: they need all distributions at once, and run from a clone.
    more = {"CHANGELOG.md"} if name == "flext-plugins" else set()
    beside = {"README.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert names == files | template | beside | more


def test_a_newer_version_of_a_stranger_does_not_get_in_by_the_printed_line(python):
    assert versions(python) == dict.fromkeys(OURS, VERSION)


def test_a_newer_version_of_a_stranger_gets_in_by_name(built, strangers, tmp_path):
    folder, _ = built
    names = ("flext-plugins", "flext-plugins-auth")
    pip("install", "--no-index", "--target", tmp_path, *names, links=[folder, strangers])
    assert {each.name for each in tmp_path.glob("*.dist-info")} == {
        f"{name.replace('-', '_')}-{NEWER}.dist-info" for name in names
    }


def test_what_was_installed_from_wheels_is_ready_and_makes_a_call(python, tmp_path):
    (tmp_path / "flext.toml").write_text(CONFIGURATION)
    flext_plugins = python.parent / "flext-plugins"

    records = json.loads(run(flext_plugins, "list", "--import", "--json", cwd=tmp_path))
    names = {
        *("auth", "circuit-breaker", "ldap", "meltano", "metrics", "oracle", "retry", "tracing"),
    }
    assert {each["name"]: each["status"] for each in records} == dict.fromkeys(names, "ready")

    secret = {"ECHO_TOKEN": "canary"}
    assert run(flext_plugins, "check", cwd=tmp_path, **secret) == "ok: 1 service: echo\n"

    seen = json.loads(run(python, "-c", FIRST_CALL, cwd=tmp_path, **secret))
    assert Path(seen["home"]).is_relative_to(python.parents[1])
    assert (seen["authorization"], seen["calls"]) == ("Bearer canary", [1.0])


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_a_git_address_as_in_the_readme_installs_the_host_and_what_is_below_a_folder(tmp_path):
    pytest.importorskip("hatchling")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    host, auth, *_ = re.findall(r"^flext-plugins\S* @ git.*$", readme, re.MULTILINE)
    here = {
        "GIT_CONFIG_COUNT": 1,
        "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://git.example/flext-plugins",
    }
    pip(
        *("install", "--no-deps", "--no-build-isolation", "--target", tmp_path, host, auth),
        links=[],
        **here,
    )
    assert {each.name for each in tmp_path.glob("*.dist-info")} == {
        f"flext_plugins-{VERSION}.dist-info",
        f"flext_plugins_auth-{VERSION}.dist-info",
    }
