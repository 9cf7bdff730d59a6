"""What is done to entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .entry import Entry, Upserted
from .errors import DirectoryError, DirectoryUnavailable
from .session import EXISTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .entry import Values
    from .pool import Patience
    from .session import Session

REPLACE, ADD, DELETE = "MODIFY_REPLACE", "MODIFY_ADD", "MODIFY_DELETE"


def changes(
    replace: Mapping[str, Values] | None,
    add: Mapping[str, Values] | None,
    delete: Mapping[str, Values] | None,
) -> dict[str, list[tuple[str, Values]]]:
    """As LDAP has them: by attribute, each with its operation."""
    found: dict[str, list[tuple[str, Values]]] = {}
    for operation, given in ((REPLACE, replace), (DELETE, delete), (ADD, add)):
        for name, values in (given or {}).items():
            found.setdefault(name, []).append((operation, values))
    return found


def upsert(
    session: Session, batch: Sequence[Entry], done: list[Upserted], patience: Patience
) -> None:
    """Bring the entries of `batch` that are not `done` into the directory, and say so in `done`."""
    for entry in batch[len(done) :]:
        session.until = patience.until(patience.answer)  # for each, however many there are
        try:
            done.append(_upserted(session, entry))
        except DirectoryUnavailable:
            raise
        except DirectoryError as error:
            done.append(Upserted(entry.dn, "failed", error))


def _upserted(session: Session, entry: Entry) -> Upserted:
    given = {name: values for name, values in entry.attributes.items() if values}
    try:
        session.add(entry.dn, given)
        return Upserted(entry.dn, "added")
    except DirectoryError as error:
        if error.code != EXISTS:
            raise
    session.modify(entry.dn, changes(entry.attributes, None, None))
    return Upserted(entry.dn, "modified")
