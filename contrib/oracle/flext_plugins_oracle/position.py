"""The positions of named loads, which the database keeps in a table of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import BigInteger, Column, MetaData, String, Table, delete, insert, select, update
from sqlalchemy.schema import CreateTable

from .errors import DatabaseError, number_of
from .names import table_name

if TYPE_CHECKING:
    from .session import Session

DUPLICATE, NO_SUCH_TABLE, EXISTS = 1, 942, 955
LONGEST = 128


class Position:
    """The number of records that the load of one name is done with.

    A run of the load takes it over from the run before, which from then on is refused: so there is
    one at a time, and what a killed or silent one left behind does not matter.
    """

    def __init__(self, table: str, name: str) -> None:
        schema, own = table_name(table)
        columns = (
            Column("name", String(LONGEST), primary_key=True),
            Column("position", BigInteger, nullable=False),
            Column("run", String(32)),
        )
        self._table = Table(own, MetaData(), *columns, schema=schema)
        self._name, self._run = name, uuid4().hex

    def take_over(self, session: Session) -> int:
        """Say where the load goes on, and end any other run of it; it is committed."""
        for is_last in (False, False, True):
            try:
                position = self._taken(session)
                break
            except DatabaseError as error:
                number = number_of(error.code)
                if is_last or number not in {DUPLICATE, NO_SUCH_TABLE}:
                    raise
                if number == NO_SUCH_TABLE:
                    self._create(session)
        session.commit()
        return position

    def advance(self, session: Session, old: int, new: int) -> None:
        """Say how far the load has come, in the transaction that is open.

        Raises:
            DatabaseError: another run has taken it over.
        """
        mine = (*self._mine(), self._table.c.position == old)
        if not session.execute(update(self._table).where(*mine).values(position=new)).rowcount:
            raise self._taken_over()

    def settled(self, session: Session) -> int:
        """Say how far it has come, once a transaction whose end is unknown has ended.

        Raises:
            DatabaseError: another run has taken it over.
        """
        query = select(self._table.c.position).where(*self._mine()).with_for_update()
        found = session.execute(query).scalar()
        session.rollback()
        if found is None:
            raise self._taken_over()
        return int(found)

    def look_up(self, session: Session) -> int | None:
        """Say how far it has come; `None` if there was no such load."""
        query = select(self._table.c.position).where(self._table.c.name == self._name)
        try:
            found = session.execute(query).scalar()
        except DatabaseError as error:
            if number_of(error.code) != NO_SUCH_TABLE:
                raise
            found = None
        session.finish()
        return None if found is None else int(found)

    def forget(self, session: Session) -> None:
        """Delete it, without committing; a run that is under way is over."""
        try:
            session.execute(delete(self._table).where(self._table.c.name == self._name))
        except DatabaseError as error:
            if number_of(error.code) != NO_SUCH_TABLE:
                raise

    def _mine(self) -> tuple[Any, ...]:
        return self._table.c.name == self._name, self._table.c.run == self._run

    def _taken_over(self) -> DatabaseError:
        return DatabaseError(f"load {self._name!r}: it was begun anew elsewhere, or forgotten")

    def _taken(self, session: Session) -> int:
        named = self._table.c.name == self._name
        # It waits for a batch of the other run that is being committed.
        if not session.execute(update(self._table).where(named).values(run=self._run)).rowcount:
            values = {"name": self._name, "position": 0, "run": self._run}
            session.execute(insert(self._table).values(values))
            return 0
        return int(session.execute(select(self._table.c.position).where(named)).scalar_one())

    def _create(self, session: Session) -> None:
        try:
            session.execute(CreateTable(self._table))
        except DatabaseError as error:
            if number_of(error.code) != EXISTS:  # somebody else was faster
                raise
