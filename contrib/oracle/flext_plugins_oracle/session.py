"""A session: one connection to the database, with SQLAlchemy inside and our errors outside."""

from __future__ import annotations

import math
import ssl
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import oracledb
from sqlalchemy import create_engine, event, false, literal_column, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from flext_plugins import ConfigError

from . import dialect as _registered  # noqa: F401 - SQLAlchemy finds it by name
from .errors import (
    IN_DOUBT,
    DatabaseError,
    DatabaseUnavailable,
    OutcomeUnknown,
    line_of,
    number_of,
    of_connecting,
    of_statement,
)
from .names import NameRefused, identifier
from .rows import fractions_of
from .statement import table_of
from .wire import Socket, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import CursorResult, Engine, Executable

    from .rows import Row, Types
    from .settings import DatabaseSettings
    from .wire import Watch

T = TypeVar("T")
DIALECT = "oracle+flext://"
UNREADABLE = frozenset({942, 1031})
"""There is no such table, or no right to read it."""
LONGEST = 3600.0
"""Seconds to connect a socket, where the settings allow for ever."""
GOODBYE_SECONDS = 0.5
"""So long a session may take to log off."""


class Opener:
    """Opens sessions to one database."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings, self.target = settings, settings.target
        speaks_tls = settings.protocol == "tcps" or settings.dsn is not None  # that may say so
        self._tls = tls(settings) if speaks_tls else None
        self.engine = self._engine()
        self.types: dict[str, Types] = {}
        """Of the columns of tables that rows were inserted into."""

    def open(self, watch: Watch, end: float, wire: Wire) -> Session:
        """Open a session over `wire` by `end`, on the monotonic clock.

        Raises:
            Unreachable: the database cannot be reached.
            ConfigError: it does not accept the settings.
        """
        session = None
        try:
            with watch.until(wire, end), wire.opening():
                wire.seconds = max(end - time.monotonic(), 0.001)
                session = Session(self, wire, watch)
                session.begin(self._settings.schema_name)
            return session
        except BaseException as error:
            is_late = wire.is_hung_up
            if session is not None:
                session.close()
            wire.close()
            if not isinstance(error, (SQLAlchemyError, oracledb.Error, OSError)):
                raise
            found = error.orig if isinstance(error, DBAPIError) and error.orig else error
            problem = of_connecting(found, self.target, is_late=is_late)
        raise problem

    def _engine(self) -> Engine:
        engine = create_engine(
            DIALECT, creator=self._connect, poolclass=NullPool, hide_parameters=True
        )

        @event.listens_for(engine, "before_cursor_execute")
        def _size(*arguments: Any) -> None:
            cursor, context = arguments[1], arguments[4]
            parameters = arguments[3]
            is_plain = context.compiled is None and isinstance(parameters, dict)
            if is_plain and (sizes := fractions_of(parameters)):
                cursor.setinputsizes(**sizes)
            if size := context.execution_options.get("batch_size"):
                cursor.arraysize, cursor.prefetchrows = size, size + 1  # one trip a batch

        return engine

    def _connect(self) -> Any:
        settings, wire = self._settings, Wire.current()
        arguments: dict[str, Any] = {
            name: value
            for name, value in (
                ("host", settings.host),
                ("dsn", settings.dsn),
                ("port", settings.port if settings.host else None),
                ("service_name", settings.service_name),
                ("sid", settings.sid),
                ("protocol", settings.protocol if settings.host else None),
                ("wallet_location", settings.wallet),
                ("config_dir", settings.wallet if settings.dsn else None),
                ("ssl_server_cert_dn", settings.server_dn),
            )
            if value is not None
        }
        secrets = {
            name: secret if isinstance(secret, str) else secret.get_secret_value()
            for name, secret in (
                ("user", settings.username),
                ("password", settings.password),
                ("wallet_password", settings.wallet_password),
            )
            if secret is not None
        }
        try:
            seconds = min(wire.seconds, LONGEST)
            return oracledb.connect(
                **arguments, **secrets, ssl_context=self._tls, tcp_connect_timeout=seconds
            )
        finally:
            secrets.clear()  # nobody who renders locals shall see them here


def tls(settings: DatabaseSettings) -> ssl.SSLContext:
    """The TLS context that verifies servers.

    Raises:
        ConfigError: `ca_file` cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        problem = type(error).__name__
    else:
        context.sslsocket_class = Socket
        return context
    raise ConfigError(
        "ca_file: expected a file of certificates in PEM, "
        f"cannot read {settings.ca_file!r} ({problem})"
    )


def interrupt(error: BaseException, handled: BaseException | None) -> BaseException | None:
    """The `KeyboardInterrupt` or the like that led to `error`, since `handled` was.

    The driver then asks the server to stop; if that fails, it tells of the failure alone. (While
    another error is handled, not even its context tells of the interrupt.)
    """
    each: BaseException | None = error
    while each is not None and each is not handled:
        if not isinstance(each, Exception):
            return each
        each = each.__cause__ or each.__context__
    return None


def _unsendable(what: str, error: Exception) -> str:
    return f"{what}: the values cannot be sent ({type(error).__name__})"


class Session:
    """One connection to the database; used by one thread at a time."""

    def __init__(self, opener: Opener, wire: Wire, watch: Watch) -> None:
        self.opener, self.wire, self._watch = opener, wire, watch
        self.idle_since = time.monotonic()
        self.end: Callable[[], float] = lambda: math.inf
        """When a round trip that begins now has to be over, on the monotonic clock."""
        self._connection = opener.engine.connect()
        self.driver: Any = self._connection.connection.driver_connection
        """The driver's connection."""
        self.dialect: Any = opener.engine.dialect

    @property
    def version(self) -> str:
        """The server's."""
        return str(self.driver.version)

    def begin(self, schema: str | None) -> None:
        """Prepare the session, before its first use."""
        self.dialect.learn(self._connection)
        if schema is not None:
            name = self.dialect.identifier_preparer.quote(identifier(schema))
            self._connection.exec_driver_sql(f"ALTER SESSION SET CURRENT_SCHEMA = {name}")
        self._connection.rollback()

    @contextmanager
    def speaking(self, what: str) -> Iterator[None]:
        """Hang up at `end()`, and raise our errors in the place of the libraries'."""
        handled = sys.exception()
        try:
            with self._watch.until(self.wire, self.end()):
                yield
        except (DatabaseError, ConfigError):
            raise
        except NameRefused as error:
            raise DatabaseError(f"{what}: {error}") from None
        except DBAPIError as error:
            raise interrupt(error, handled) or self._problem(error.orig or error, what) from None
        except (SQLAlchemyError, oracledb.Error, OSError) as error:
            if isinstance(error, OSError) and self.is_healthy:  # not the driver's: a value's own
                self.wire.hang_up()  # a part may be on its way
                raise DatabaseError(_unsendable(what, error)) from None
            raise interrupt(error, handled) or self._problem(error, what) from None
        except (TypeError, ValueError, OverflowError) as error:  # the driver's, about a value
            raise DatabaseError(_unsendable(what, error)) from None

    def _problem(self, error: BaseException, what: str) -> DatabaseError:
        return of_statement(
            error,
            what,
            self.opener.target,
            is_late=self.wire.is_hung_up,
            is_gone=not self.is_healthy,
        )

    @property
    def is_healthy(self) -> bool:
        """Whether the driver thinks that the connection is there."""
        return not self.wire.is_hung_up and bool(self.driver.is_healthy())

    @property
    def is_in_transaction(self) -> bool:
        """Whether something is to be committed."""
        return bool(self.driver.transaction_in_progress)

    def execute(
        self,
        statement: str | Executable,
        values: Mapping[str, Any] | None = None,
        *,
        batch_size: int | None = None,
    ) -> CursorResult[Any]:
        """Execute a statement, without committing; `batch_size` rows come in a trip."""
        with self.speaking("execute"):
            options = {"batch_size": batch_size, "preserve_rowcount": batch_size is None}
            if isinstance(statement, str):
                return self._connection.exec_driver_sql(
                    statement, dict(values or {}), execution_options=options
                )
            return self._connection.execute(
                statement, dict(values) if values else None, execution_options=options
            )

    def change(self, statement: str | Executable, values: Mapping[str, Any] | None = None) -> int:
        """Execute a statement without committing; how many rows it changed."""
        if isinstance(statement, str):  # nothing of it is for SQLAlchemy to do
            with self.speaking("execute"), self.cursor() as cursor:
                bound = dict(values or {})
                if sizes := fractions_of(bound):
                    cursor.setinputsizes(**sizes)
                cursor.execute(statement, bound)
                return max(int(cursor.rowcount), 0)
        result = self.execute(statement, values)
        count = result.rowcount
        result.close()
        return max(count, 0)

    def execute_many(self, text: str, rows: list[Row], sizes: Sequence[Any]) -> int:
        """Execute a statement for all rows, without committing; how many it changed.

        `sizes` are the driver's types of the columns where it cannot guess them, or `None`.
        """
        with self.speaking("execute"), self.cursor(sizes) as cursor:
            cursor.executemany(text, rows)
            return int(cursor.rowcount)

    def execute_good(
        self, text: str, rows: list[Row], sizes: Sequence[Any]
    ) -> list[tuple[int, str, str]]:
        """Execute a statement for all rows that the database takes, without committing.

        The others as their offset, code and reason.
        """
        with self.speaking("load"), self.cursor(sizes) as cursor:
            cursor.executemany(text, rows, batcherrors=True)
            return [
                (each.offset, each.full_code, line_of(each.message))
                for each in cursor.getbatcherrors()
            ]

    def compiled(self, statement: Executable) -> Any:
        """A statement of SQLAlchemy's in SQL."""
        options = {"render_postcompile": True}
        return statement.compile(dialect=self.dialect, compile_kwargs=options)  # type: ignore[attr-defined]

    def types_of(self, table: str) -> Types:
        """The driver's types of a table's columns, by name; asked once for each pool."""
        return self.opener.types.get(table) or self.describe(table)

    def describe(self, table: str) -> Types:
        """The driver's types of a table's columns, by name; none if they may not be read."""
        types: Types = {}
        try:
            with self.speaking("describe"), self.cursor() as cursor:
                everything: Any = select(literal_column("*"))
                statement = everything.select_from(table_of(table)).where(false())
                # SQLAlchemy's handler would make other types of large objects' and of numbers'.
                cursor.outputtypehandler = lambda *_: None
                cursor.execute(str(statement.compile(dialect=self.dialect)))
                types = {column[0]: column[1] for column in cursor.description}
        except DatabaseError as error:
            if number_of(error.code) not in UNREADABLE:
                raise
        self.opener.types[table] = types
        return types

    def all_or_none(self, work: Callable[[], T]) -> T:
        """`work()`; what it has done is undone if it fails, and no more than that."""
        is_first = not self.is_in_transaction
        if not is_first:
            self.execute("SAVEPOINT flext_records")
        try:
            return work()
        except DatabaseUnavailable:
            raise
        except Exception:
            if is_first:
                self.rollback()
            else:
                self.execute("ROLLBACK TO SAVEPOINT flext_records")
            raise

    @contextmanager
    def cursor(self, sizes: Sequence[Any] = ()) -> Iterator[Any]:
        """A cursor of the driver's, for what SQLAlchemy does not offer."""
        cursor = self.driver.cursor()
        try:
            if any(sizes):
                cursor.setinputsizes(*sizes)
            yield cursor
        finally:
            cursor.close()

    def commit(self) -> None:
        """Commit.

        Raises:
            OutcomeUnknown: the answer did not come.
            DatabaseError: the database refused, and has undone everything.
        """
        try:
            with self.speaking("commit"):
                self.driver.commit()
        except DatabaseUnavailable as error:
            problem = f"the answer to the commit was lost: {error}"
            raise OutcomeUnknown(problem, error.code) from None
        except DatabaseError as error:
            if number_of(error.code) in IN_DOUBT:
                raise OutcomeUnknown(str(error), error.code) from None
            raise
        self._connection.commit()

    def rollback(self) -> None:
        """Undo what was not committed."""
        with self.speaking("rollback"):
            self.driver.rollback()
        self._connection.rollback()

    def finish(self) -> None:
        """End a query, which has begun no transaction unless it locked rows."""
        if self.is_in_transaction:
            self.rollback()
        else:
            self._connection.rollback()

    def ping(self) -> None:
        """Make a round trip."""
        with self.speaking("ping"):
            self.driver.ping()

    def close(self, end: float = 0.0) -> None:
        """Close; log off before, if the connection is whole and the time until `end` suffices."""
        with self._watch.until(self.wire, end):
            if end <= time.monotonic():
                self.wire.hang_up()
            with suppress(Exception):
                self._connection.close()
        self.wire.close()
