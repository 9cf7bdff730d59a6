"""The SQL of loads on other databases: the same statements, over any driver of SQLAlchemy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flext_plugins_oracle.errors import ConstraintViolated, DatabaseError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

if TYPE_CHECKING:
    from sqlalchemy import CursorResult, Engine

CODES = {
    "no such table": "ORA-00942",
    "42P01": "ORA-00942",
    "UNIQUE constraint": "ORA-00001",
    "23505": "ORA-00001",
    "NOT NULL constraint": "ORA-01400",
    "23502": "ORA-01400",
    "no column named": "ORA-00904",
    "42703": "ORA-00904",
    "22P02": "ORA-01722",
    "already exists": "ORA-00955",
}
"""What SQLite and PostgreSQL say, as Oracle says it."""


class Elsewhere:
    """Does what `Session` does where only SQL matters; here a failed statement ends nothing."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connect().execution_options(preserve_rowcount=True)
        self.dialect = engine.dialect

    def execute(self, statement: Any, values: Any = None) -> CursorResult[Any]:
        if isinstance(statement, str):
            return self._connection.execute(text(statement), values)
        # PostgreSQL's transaction would be over with a statement that fails.
        point = self._connection.begin_nested()
        try:
            result = self._connection.execute(statement, values)
        except DBAPIError as error:
            point.rollback()
            raise problem(error) from None
        point.commit()
        return result

    def describe(self, _: str) -> dict[str, Any]:
        return {}

    def execute_many(self, statement: str, rows: list[Any], _: Any) -> int:
        try:
            self._connection.exec_driver_sql(statement, rows)
        except DBAPIError as error:
            raise problem(error) from None
        return len(rows)

    def execute_good(self, statement: str, rows: list[Any], _: Any) -> list[tuple[int, str, str]]:
        found = []
        for place, row in enumerate(rows):
            with self._connection.begin_nested() as point:
                try:
                    self._connection.exec_driver_sql(statement, row)
                except DBAPIError as error:
                    point.rollback()
                    told = problem(error)
                    if told.code is None:
                        raise told from None
                    found.append((place, told.code, str(told)))
        return found

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    finish = rollback

    def close(self) -> None:
        self._connection.close()


def problem(error: DBAPIError) -> DatabaseError:
    """The error that Oracle's session would raise."""
    told = str(error.orig)
    code = next((code for sign, code in CODES.items() if sign in told), None)
    kind = ConstraintViolated if isinstance(error, IntegrityError) else DatabaseError
    return kind(f"load: {code or 'the values cannot be sent'}", code)
