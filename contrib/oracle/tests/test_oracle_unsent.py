"""What never left is the caller's mistake, whatever error the values raise while they are bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from flext_plugins_oracle import DatabaseError, DatabaseUnavailable

QUERY = "SELECT :a FROM dual"


class Broken(Decimal):
    """A number that breaks while it is encoded."""

    def __str__(self) -> str:
        raise OSError("the caller's own")


class BrokenMapping(Mapping[str, Any]):
    """Values that cannot be read."""

    def __getitem__(self, _: str) -> Any:
        raise OSError("the caller's own")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


MISTAKES: dict[str, tuple[Any, Any, str]] = {
    "a value that breaks": (QUERY, {"a": Broken("1")}, "the values cannot be sent"),
    "no value that is known": (QUERY, {"a": object()}, "execute: "),
    "half a character": (QUERY, {"a": "\udc80"}, "the values cannot be sent"),
    "no placeholder of that name": (QUERY, {"b": 1}, "execute: "),
    "a name that is a number": (QUERY, {1: 2}, "values are a mapping of"),
    "a name that is nothing": (QUERY, {None: 2}, "values are a mapping of"),
    "an empty name": (QUERY, {"": 2}, "values are a mapping of"),
    "values that are a list": (QUERY, [1], "values are a mapping of"),
    "values that are text": (QUERY, "x", "values are a mapping of"),
    "no statement": (None, None, "execute: "),
    "half a character in a statement": ("SELECT '\udc80' FROM dual", None, "cannot be sent"),
}


@pytest.mark.parametrize("method", ["fetch", "execute"])
@pytest.mark.parametrize(("statement", "values", "said"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_sent_is_told_at_the_call_and_counts_for_nothing(
    ask: Any, method: str, statement: Any, values: Any, said: str
) -> None:
    database = ask(plugins={"circuit-breaker": {"failure_threshold": 1}, "retry": {}})
    with pytest.raises(DatabaseError, match=said) as caught:
        getattr(database, method)(statement, values)
    assert not isinstance(caught.value, DatabaseUnavailable)
    assert database.rows("SELECT 1 FROM dual") == [(1,)]  # no circuit is open, the session whole


def test_values_that_cannot_be_read_raise_their_own_error(ask: Any) -> None:
    database = ask(plugins={"circuit-breaker": {"failure_threshold": 1}})
    with pytest.raises(OSError, match="the caller's own"):
        database.fetch(QUERY, BrokenMapping())
    assert database.rows("SELECT 1 FROM dual") == [(1,)]
