"""Reads a page as its reader would: does what its blocks say, in one program and one folder.

`python reader.py PAGE` is run by an environment that has what the page installs, and nothing else:
so it needs nothing but Python. The first block that fails ends it; its lines are those of the page.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import tomllib
import types
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w.-]+\.(?:py|toml|yaml))\n")
COMMAND = re.compile(r"^\$ ((?:[^\n]*\\\n)*[^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", re.MULTILINE)
ELSEWHERE = re.compile(r"make |git clone |cd flext-plugins\b|.*\bgit\+|flext-devstack demo")
"""Commands that need the repository: CI itself runs them, or the devstack's own tests."""
PORTS = {
    8080: "--flexcore-port",
    8081: "--flext-service-port",
    8082: "--auth-port",
    8090: "--echo-port",
}
"""Those of `flext-devstack up`, and the options that choose others."""
OWN = {
    "http://localhost:4318": "http://localhost:8090",  # a collector; the echo takes anything
    "ldap://ldap1.example": "ldap://127.0.0.1:1",  # a directory that is down
}
"""What stands for the reader's own world, and what is there in its place."""
STARTED = {
    "directory": {"ldap://ldap2.example": "url", "/etc/flext/ca.pem": "ca_file"},
    "server": {"db.example:1521": "target"},
}
"""The same, from attributes of what the page itself has started: by the names of its variables."""
SECRETS = {
    "/run/secrets/flext": "flexcore100",
    "/run/secrets/ldap": "s3rvice-passw0rd",
    "/run/secrets/oracle": "flext-passw0rd",
}
"""Files of the reader's own world."""


class Block(NamedTuple):
    """A block of a page, of a kind such as `python`; `line` is that of its fence, from 1."""

    kind: str
    line: int
    text: str


class Command(NamedTuple):
    """A command in a shell, and what the page says that it prints."""

    line: int
    text: str
    shown: str

    @property
    def words(self) -> list[str]:
        """The command's words; a backslash at the end of a line joins it with the next."""
        return shlex.split(self.text.replace("\\\n", " "), comments=True)

    @property
    def installs(self) -> bool:
        """Whether pip installs something."""
        pip = {"pip", "install"} <= {*self.words}
        return pip and not ELSEWHERE.match(self.text)

    @property
    def is_setup(self) -> bool:
        """Whether it installs what is not the page's own: others' packages, those in `dist/`."""
        own = {".", "-e", "-r", "&&"} & {*self.words} or any(
            re.match(r"\./|.*\*", word) for word in self.words
        )
        return self.installs and not own


def blocks(page: Path) -> list[Block]:
    """The blocks that are run."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(block[1], text.count("\n", 0, block.start()) + 1, block[2])
        for block in BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    """The commands of a block; only a console has some."""
    if block.kind != "console":
        return []
    return [
        Command(block.line + 1 + block.text.count("\n", 0, each.start()), each[1], each[2])
        for each in COMMAND.finditer(block.text)
    ]


def is_run(page: Path) -> bool:
    """Whether there is anything in it to do."""
    return any(
        block.kind != "console" or any(not ELSEWHERE.match(each.text) for each in commands(block))
        for block in blocks(page)
    )


class Reader:
    """Does what one page says, and ends the servers that it started."""

    def __init__(self, page: Path) -> None:
        self.page, self.folder = page, Path.cwd()
        self.main = sys.modules["__main__"] = types.ModuleType("__main__")
        self.free = {port: reserved() for port in PORTS}
        self.servers: list[subprocess.Popen[str]] = []

    def read(self) -> None:
        """Do all of it, or raise what a block raises."""
        try:
            for block in blocks(self.page):
                try:
                    self._do(block)
                except BaseException as error:
                    error.add_note(f"{self.page}:{block.line}: the {block.kind} that begins here")
                    raise
        finally:
            for server in self.servers:
                server.terminate()
                server.wait()

    def _do(self, block: Block) -> None:
        text = self._here(block.text)
        if block.kind == "console":
            for command in commands(block):
                self._run(command)
        elif block.kind == "toml" and is_configuration(text):
            named = FILE.match(text)
            Path(named[1] if named else "flext.toml").write_text(text, encoding="utf-8")
        elif named := FILE.match(text):
            Path(named[1]).write_text(text, encoding="utf-8")
        elif block.kind == "python":
            lines = "\n" * block.line  # so that a traceback has those of the page
            exec(compile(lines + text, str(self.page), "exec", dont_inherit=True), vars(self.main))
        elif block.kind != "toml":
            raise AssertionError("nothing runs such a block")

    def _here(self, text: str) -> str:
        """The text with the addresses and files that are here."""
        for written, real in OWN.items():
            text = text.replace(written, real)
        for port, free in self.free.items():
            address = "http://{}:{}".format(*free.getsockname())
            text = re.sub(rf"http://(localhost|127\.0\.0\.1):{port}\b", address, text)
        for variable, places in STARTED.items():
            for written, attribute in places.items():
                if variable in vars(self.main) and written in text:
                    text = text.replace(written, getattr(vars(self.main)[variable], attribute))
        for path, secret in SECRETS.items():
            if path in text:
                file = self.folder / path.replace("/", "-")
                file.write_text(f"{secret}\n", encoding="utf-8")
                text = text.replace(path, str(file))
        return text

    def _run(self, command: Command) -> None:
        """Run a command; it has to print what the page says, numbers, ids and dates apart."""
        if command.is_setup or ELSEWHERE.match(command.text):
            return
        if command.words[:2] == ["flext-devstack", "up"]:
            self._serve([word for word in command.words if word != "&"])
            return
        printed = shell(self._here(command.text))
        if plain(printed) != plain(self._here(command.shown)):
            where = f"{self.page}:{command.line}: `{command.text}`"
            raise AssertionError(f"{where} prints\n{printed}\nand not\n{command.shown}")

    def _serve(self, words: list[str]) -> None:
        """Start the devstack, on free ports, and wait until it says where its servers are."""
        for port, option in PORTS.items():
            words = [*words, option, str(self.free[port].getsockname()[1])]
        server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.servers.append(server)
        assert server.stdout is not None
        for _ in PORTS:
            assert server.stdout.readline(), f"`{' '.join(words)}` does not start"


def reserved() -> socket.socket:
    """A port on which nobody listens but a server of the page: it says SO_REUSEADDR too."""
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port.bind(("127.0.0.1", 0))
    return port


def shell(command: str) -> str:
    """What a command prints. Where it goes to and what it exports holds from here on."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as state:
        after = f"{{ pwd; env -0; }} >{state.name}"
        done = subprocess.run(
            ["sh", "-c", f"{command}\n{after}"], capture_output=True, text=True, check=False
        )
        folder, _, variables = state.read().partition("\n")
    if folder:  # else the command was not understood
        os.chdir(folder)
        for each in variables.split("\0"):
            name, _, value = each.partition("=")
            if name:
                os.environ[name] = value
    return done.stdout + done.stderr


def is_configuration(text: str) -> bool:
    """Whether this TOML configures a host. If it does it has to be valid."""
    tables = tomllib.loads(text)
    if not {"services", "plugins", "defaults"} & tables.keys():
        return False
    from flext_plugins import HostConfig

    HostConfig.model_validate(tables)
    return True


def plain(text: str) -> list[str]:
    """The lines without what differs from run to run, and pytest's dots however wide it is."""
    text = re.sub(r"(\.+) +\[ *\d+%\]\n(?=\.)", r"\1", text)
    lines = []
    for line in text.splitlines():
        if not line.lower().startswith("date:"):
            ids = r"[0-9a-f]{8}-[0-9a-f-]{27}|\b([0-9a-f]{16}){1,2}\b"
            short = re.sub(rf"{ids}|\d+(\.\d+)?", "#", line)
            lines.append(re.sub(r"\s+", " ", short).strip())
    return [line for line in lines if line]


if __name__ == "__main__":
    sys.path[0] = ""  # this folder, and not that of the tests
    Reader(Path(sys.argv[1])).read()
