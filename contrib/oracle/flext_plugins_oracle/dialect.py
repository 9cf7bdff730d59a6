"""SQLAlchemy's dialect for python-oracledb, without what makes one caller wait for another."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.oracle import oracledb

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import IsolationLevel


class Dialect(oracledb.dialect):
    """The same, but it asks a server about itself where a deadline holds."""

    supports_statement_cache = True
    is_initialised = False

    def initialize(self, connection: Any) -> None:
        """Ask nothing: SQLAlchemy calls it under a lock, where all others would wait."""

    def learn(self, connection: Any) -> None:
        """Ask what `initialize` asks, once; who asks at the same time learns the same."""
        if not self.is_initialised:
            super().initialize(connection)  # type: ignore[no-untyped-call]
            self.is_initialised = True

    def get_default_isolation_level(self, dbapi_conn: Any) -> IsolationLevel:  # noqa: ARG002 - SQLAlchemy's
        """Every session's; SQLAlchemy would begin a transaction to ask."""
        return "READ COMMITTED"

    def do_commit(self, dbapi_connection: Any) -> None:
        """Do nothing: a session ends its transactions itself, rows of array DML included."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Do nothing, for the same reason; after a query there is nothing to undo."""

    def do_close(self, dbapi_connection: Any) -> None:
        """Close a connection that may be lost already, which is no news for SQLAlchemy's log."""
        with suppress(Exception):
            dbapi_connection.close()

    def do_terminate(self, dbapi_connection: Any) -> None:
        """Close it, too."""
        self.do_close(dbapi_connection)


registry.register("oracle.flext", __name__, "Dialect")
