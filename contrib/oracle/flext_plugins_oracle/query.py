"""Queries, which are read a batch at a time over one session."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa  # type: ignore[import-untyped]
    from sqlalchemy import CursorResult, Executable, Row

    from .session import Session


class Query:
    """Reads the rows of a statement, `size` at a time."""

    def __init__(
        self, statement: str | Executable, values: Mapping[str, Any] | None, size: int
    ) -> None:
        self._statement, self._values, self._size = statement, values, size
        self._result: CursorResult[Any] | None = None
        self.is_over = False

    def start(self, session: Session) -> Sequence[Row[Any]]:
        """Execute it, and read the first batch."""
        self._result = session.execute(self._statement, self._values, batch_size=self._size)
        return self.read(session)

    def read(self, session: Session) -> Sequence[Row[Any]]:
        """Read the next batch."""
        result = self._result
        assert result is not None  # noqa: S101 - it was started
        with session.speaking("fetch"):
            rows = result.fetchmany(self._size)
        if len(rows) < self._size:
            self.close()
        return rows

    def close(self) -> None:
        """Read no further."""
        self.is_over = True
        if self._result is not None:
            self._result.close()


class ArrowQuery:
    """Reads the rows of a statement as tables of Apache Arrow, `size` rows at a time."""

    def __init__(
        self, statement: str | Executable, values: Mapping[str, Any] | None, size: int
    ) -> None:
        if find_spec("pyarrow") is None:
            raise DatabaseError("fetch_arrow needs pyarrow: the extra arrow brings it")
        self._statement, self._values, self._size = statement, values, size
        self._frames: Any = None
        self.is_over = False

    def start(self, session: Session) -> pa.Table | None:
        """Execute it, and read the first batch."""
        text, values = self._statement, dict(self._values or {})
        if not isinstance(text, str):
            compiled: Any = session.compiled(text)
            text, values = str(compiled), {**compiled.params, **values}
        with session.speaking("execute"):
            self._frames = session.driver.fetch_df_batches(
                text, values, size=self._size, fetch_decimals=True
            )
        return self.read(session)

    def read(self, session: Session) -> pa.Table | None:
        """Read the next batch; `None` if there is none."""
        import pyarrow as pa  # noqa: PLC0415 - an extra

        with session.speaking("fetch"):
            frame = next(self._frames, None)
        if frame is None or frame.num_rows() < self._size:
            self.close()
        return None if frame is None else pa.table(frame)

    def close(self) -> None:
        """Read no further."""
        self.is_over, self._frames = True, None
