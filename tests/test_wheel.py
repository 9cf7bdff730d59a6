"""A plugin as its users get it: a wheel, pip, a fresh environment, and gone after uninstall."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
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


def run(*command, cwd):
    done = subprocess.run(
        [str(each) for each in command],
        check=False,
        cwd=cwd,
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
