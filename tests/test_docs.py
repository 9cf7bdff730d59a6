"""The documentation is executed: every code block in it runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
from flext_plugins_devstack import Devstack
from slapd import BASE, PASSWORD, Slapd, or_skipped

from flext_plugins import HostConfig

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("contrib/*/README.md"),
    ]
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = ("pip install", "make ", "flext-devstack", "curl ")
"""Commands that something else runs: CI itself, and the devstack's own tests."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_code_block_runs(page, tmp_path, monkeypatch):
    """In order, in one program and one folder for each page; what begins `# name.py` is that file."""
    secret = tmp_path / "secret"
    secret.write_text("flexcore100\n")
    monkeypatch.chdir(tmp_path)
    if page.stem != "test-your-application":  # no other needs pytest's plugins: a second each
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("FLEXT_USERNAME", "admin")
    monkeypatch.setenv("FLEXT_PASSWORD", "flexcore100")
    names = {"__name__": "page"}
    with (
        or_skipped(),
        Devstack(protected=True) as stack,
        _directory(page, tmp_path) as meant,
    ):
        # What listens at 4318 takes spans; a third origin takes anything.
        servers = {
            "8080": stack.flexcore,
            "8082": stack.auth,
            "4318": stack.echo,
            "8090": stack.echo,
        }
        for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            for port, server in servers.items():
                text = re.sub(rf"http://(localhost|127\.0\.0\.1):{port}\b", server.url, text)
            for written, real in {"/run/secrets/flext": str(secret), **meant}.items():
                text = text.replace(written, real)
            if kind == "python" and (named := re.match(r"# (\w+\.py)\n", text)):
                (tmp_path / named[1]).write_text(text)
            elif kind == "python":
                exec(compile(text, str(page), "exec", dont_inherit=True), names)
            elif kind == "toml":
                _check_toml(text, tmp_path / "flext.toml")
            elif kind == "console":
                _check_console(text, stack)
            else:
                raise AssertionError(f"nothing executes a block of {kind}")


@contextmanager
def _directory(page, folder):
    """A real directory for the page about it, and what there stands for what in the page."""
    if page.parent.name != "ldap":
        yield {}
        return
    (folder / "ldap-secret").write_text(PASSWORD)
    slapd = Slapd(folder / "slapd")
    try:
        yield {
            "ldap://ldap1.example": "ldap://127.0.0.1:1",  # which is down
            "ldap://ldap2.example": slapd.url,
            "/etc/flext/ca.pem": slapd.ca_file,
            "/run/secrets/ldap": str(folder / "ldap-secret"),
            "dc=example,dc=org": BASE,
        }
    finally:
        slapd.close()


def _check_toml(text, file):
    tables = tomllib.loads(text)
    if {"services", "plugins", "defaults"} & tables.keys():
        HostConfig.model_validate(tables)
        file.write_text(text)


def _check_console(text, stack):
    """Each command prints what the page says, numbers, ids and dates apart."""
    for command, shown in re.findall(r"^\$ ([^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", text, re.MULTILINE):
        if command.startswith("export "):
            os.environ.update(pair.split("=", 1) for pair in shlex.split(command)[1:])
        elif not command.startswith(ELSEWHERE):
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            ran = subprocess.run(
                ["sh", "-c", command],
                env={**os.environ, "PATH": path, "COLUMNS": "200"},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            urls = {stack.flexcore.url: "8080", stack.auth.url: "8082"}
            said = ran.stdout + ran.stderr
            assert _plain(said, urls) == _plain(shown, urls), said


def _plain(text, urls):
    """Lines without what differs from run to run."""
    lines = []
    for line in text.splitlines():
        if not line.lower().startswith("date:"):
            ids = r"[0-9a-f]{8}-[0-9a-f-]{27}|\b([0-9a-f]{16}){1,2}\b"
            short = re.sub(rf"{ids}|\d+(\.\d+)?", "#", line)
            lines.append(re.sub(r"\s+", " ", short).strip())
    return [line for line in lines if line]
