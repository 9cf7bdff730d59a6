"""Changes to entries: modifications as LDAP words them, and upserts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .entry import Entry, UpsertResult, as_list, as_text
from .errors import DirectoryError, DirectoryUnavailable
from .session import EXISTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .entry import Values
    from .pool import Timeouts
    from .session import Session

REPLACE, ADD, DELETE = "MODIFY_REPLACE", "MODIFY_ADD", "MODIFY_DELETE"


def listed(attributes: object) -> dict[str, Values]:
    """Attributes with lists of values, which may be read more than once.

    Raises:
        DirectoryError: it is no mapping of names to values.
    """
    if not isinstance(attributes, Mapping):
        raise DirectoryError(
            f"attributes are a mapping of names to values, not {type(attributes).__name__}"
        )
    return {
        as_text(name, "the name of an attribute"): as_list(values)
        if isinstance(values, Iterable)
        else values
        for name, values in attributes.items()
    }


def changes(
    replace: Mapping[str, Values] | None,
    add: Mapping[str, Values] | None,
    delete: Mapping[str, Values] | None,
) -> dict[str, list[tuple[str, Values]]]:
    """Sort changes by attribute, each with its operation, as LDAP words them.

    Raises:
        DirectoryError: there are none, or something is no mapping of names to values.
    """
    by_name: dict[str, list[tuple[str, Values]]] = {}
    for operation, attributes in ((REPLACE, replace), (DELETE, delete), (ADD, add)):
        for name, values in listed(attributes or {}).items():
            by_name.setdefault(name, []).append((operation, values))
    if not by_name:
        raise DirectoryError("modify: there is nothing to change")
    return by_name


def check_entries(batch: Sequence[object]) -> None:
    """See that there is nothing but entries.

    Raises:
        DirectoryError: there is.
    """
    for each in batch:
        if not isinstance(each, Entry):
            raise DirectoryError(f"upsert: expected an Entry, not {type(each).__name__}")


def upsert(
    session: Session, batch: Sequence[Entry], results: list[UpsertResult], timeouts: Timeouts
) -> None:
    """Add or modify the entries of `batch` that have no result yet, and append their results."""
    for entry in batch[len(results) :]:
        session.until = timeouts.until(timeouts.answer)  # for each, however many there are
        try:
            results.append(_upsert_one(session, entry))
        except DirectoryUnavailable:
            raise
        except DirectoryError as error:
            results.append(UpsertResult(entry.dn, "failed", error))


def _upsert_one(session: Session, entry: Entry) -> UpsertResult:
    attributes = {name: values for name, values in entry.attributes.items() if values}
    try:
        session.add(entry.dn, attributes)
        return UpsertResult(entry.dn, "added")
    except DirectoryError as error:
        if error.code != EXISTS:
            raise
    session.modify(entry.dn, changes(entry.attributes, None, None))
    return UpsertResult(entry.dn, "modified")
