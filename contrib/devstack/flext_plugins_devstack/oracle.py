"""A server on loopback that speaks Oracle's wire protocol and answers from PostgreSQL."""

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from . import mirror
from .certificates import Authority
from .certificates import authority as authority_in
from .postgres import PostgreSQL, environment
from .process import NotInstalled, Watched, listens
from .server import HOST, PATIENCE, PortError, bind

SERVICE_NAME = "FLEXT"
USERS = {"FLEXT": "flext-passw0rd", "OTHER": "other-passw0rd"}
"""The password of each user; each has a schema."""
SEERDB = "seerdb[mirror]==3.3.0"
ENVIRONMENT = ".venv-seerdb"
VARIABLE = "FLEXT_SEERDB_PYTHON"
"""The variable that names the interpreter of an environment that seerdb is installed in."""


def interpreter() -> str:
    """Find the interpreter of seerdb's environment.

    Raises:
        NotInstalled: there is none.
    """
    if named := os.environ.get(VARIABLE):
        if shutil.which(named) is None:
            raise NotInstalled(f"{VARIABLE} names no program: {named}")
        return named
    for folder in (Path.cwd(), Path(__file__).parents[3]):
        path = folder / ENVIRONMENT / "bin" / "python"
        if path.exists():
            return str(path)
    pip = f"{ENVIRONMENT}/bin/pip install '{SEERDB}'"
    raise NotInstalled(f"seerdb is not installed: python3 -m venv {ENVIRONMENT} && {pip}")


class OracleCompatibleServer:
    """seerdb's Mirror over a PostgreSQL of its own: a driver meets the protocol, not an Oracle.

    Args:
        port: where it listens; 0 finds a free one.
        users: the password of each user.
        tls: whether it speaks TLS, and nothing else.
        authority: issues its certificate, for `localhost`; by default one of its own.
        client_certificates: whether over TLS a client needs a certificate of that authority.
        max_sessions: how many connections it serves at once; it closes any more.
        failed_logins: how many in a row lock a user; 0 never.

    Raises:
        NotInstalled: PostgreSQL, orafce or seerdb is not installed.
        OSError: the port is taken.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        users: Mapping[str, str] = USERS,
        tls: bool = False,
        authority: Authority | None = None,
        client_certificates: bool = False,
        max_sessions: int | None = None,
        failed_logins: int = 10,
    ) -> None:
        self._python = interpreter()
        self._resources = ExitStack()
        # PostgreSQL's user has to get there, whoever we are.
        self._folder = Path(self._resources.enter_context(TemporaryDirectory(prefix="oracle-")))
        try:
            self._postgres = PostgreSQL(self._folder)
            self.port = self._reserve(port)
        except BaseException:
            self._resources.close()
            raise
        self.users, self.host = dict(users), "localhost" if tls else HOST
        self.target = f"{self.host}:{self.port}"
        self._options = ["--failed-login-attempts", str(failed_logins)]
        if max_sessions is not None:
            self._options += ["--max-sessions", str(max_sessions)]
        self.authority = authority
        self.ca_file: str | None = None
        if tls:
            self._encrypt(client_certificates=client_certificates)
        self._process: Watched | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process that clients talk to; `None` while it is down."""
        return None if self._process is None else self._process.pid

    @property
    def sessions(self) -> int:
        """The number of sessions, those in the making included."""
        others = "backend_type = 'client backend' and pid <> pg_backend_pid()"
        return int(self._postgres.ask(f"select count(*) from pg_stat_activity where {others}"))  # noqa: S608

    def settings(self, **more: object) -> dict[str, object]:
        """The settings of the plugin `oracle` for this server, and `more`."""
        user, password = next(iter(self.users.items()))
        encryption = {} if self.ca_file is None else {"protocol": "tcps", "ca_file": self.ca_file}
        return {
            "host": self.host,
            "port": self.port,
            "service_name": SERVICE_NAME,
            "username": user,
            "password": password,
            **encryption,
            **more,
        }

    def up(self) -> None:
        """Start until connections are accepted; does nothing when running.

        Raises:
            RuntimeError: it did not start in time; the message has its output.
        """
        if self._process is not None:
            return
        self._postgres.up()
        log = self._folder / "mirror.log"
        address = ["--host", HOST, "--port", str(self.port), "--encryption", "accepted"]
        backend = ["--log-level", "WARNING", *self._options, "postgres", self._postgres.conninfo]
        # Without -I it would take our modules for its own.
        self._process = Watched(
            [self._python, "-I", mirror.__file__, *address, *backend],
            log,
            environment={
                **environment(),
                "MIRROR_USERS": ",".join(f"{name}:{word}" for name, word in self.users.items()),
            },
        )
        end = time.monotonic() + 4 * PATIENCE  # it installs 200 functions, the first time
        while not listens(self.port):
            if not self._process.is_running or time.monotonic() > end:
                self.down()
                raise RuntimeError(f"seerdb's Mirror does not start: {log.read_text()}")
            time.sleep(0.01)
        end = time.monotonic() + 1
        while self.sessions and time.monotonic() < end:  # that of `listens`, if no client's
            time.sleep(0.01)

    def down(self) -> None:
        """Kill it; connections are refused until `up`, on the same port with what was committed."""
        if self._process is not None:
            self._process.end()
            self._process = None
            # What a session was at goes on without it.
            self._postgres.down()

    def close(self) -> None:
        """Kill it, give its port back and remove its files; do nothing the second time."""
        self.down()
        self._postgres.down()
        self._resources.close()

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _encrypt(self, *, client_certificates: bool) -> None:
        if self.authority is None:
            self.authority = authority_in(self._folder / "tls", "localhost")
        self.ca_file, file = str(self.authority.path), str(self.authority.server)
        self._options += ["--tls-cert", file, "--tls-key", file]
        if client_certificates:
            self._options += ["--tls-ca", self.ca_file]

    def _reserve(self, port: int) -> int:
        try:
            number: int = self._resources.enter_context(bind(port)).getsockname()[1]
        except OSError as error:
            raise PortError("oracle", port, error) from error
        return number
