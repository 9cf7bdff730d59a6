"""A real Oracle, which somebody else runs, in the place of the server that tests start."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from flext_plugins_devstack import OracleCompatibleServer

DSN, USER, PASSWORD = "FLEXT_ORACLE_DSN", "FLEXT_ORACLE_USER", "FLEXT_ORACLE_PASSWORD"


class RealOracle(OracleCompatibleServer):
    """The database that these variables name, on a port of this machine, for tests that leave it.

    Args:
        dsn: `127.0.0.1:PORT/SERVICE_NAME`; the relay leads to no other machine.
        user: an account that may create tables.
        password: its password.
    """

    def __init__(self, dsn: str, user: str, password: str) -> None:
        place = re.fullmatch(r"(localhost|127\.0\.0\.1):(\d+)/(\S+)", dsn)
        if place is None:
            pytest.fail(f"{DSN}: expected 127.0.0.1:PORT/SERVICE_NAME", pytrace=False)
        self.host, self.port, self._service_name = place[1], int(place[2]), place[3]
        self.target, self.users = f"{self.host}:{self.port}", {user: password}
        self.ca_file = None

    @classmethod
    def named(cls) -> RealOracle | None:
        """The one that the variables name, if they do."""
        dsn = os.environ.get(DSN)
        return None if dsn is None else cls(dsn, os.environ[USER], os.environ[PASSWORD])

    @property
    def sessions(self) -> int:
        """Skip the test: an account without further rights cannot count sessions."""
        pytest.skip("a real Oracle tells its sessions to nobody but its administrators")

    def settings(self, **more: Any) -> dict[str, object]:
        """The settings of the plugin `oracle` for it, and `more`."""
        return super().settings(**{"service_name": self._service_name, **more})

    def up(self) -> None:
        """Do nothing: it is up."""

    def down(self) -> None:
        """Skip the test: it is not ours to kill."""
        pytest.skip("a real Oracle is not killed")

    def close(self) -> None:
        """Do nothing: it stays."""
