"""The directory for threads, which drives the coroutines of the async one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from flext_plugins import Connection

    from .directory import AsyncDirectory
    from .entry import Entry, UpsertResult, User, Values
    from .ldif import Record

T = TypeVar("T")


class Directory:
    """Does for threads what `AsyncDirectory` does; any number of them may share it."""

    def __init__(self, directory: AsyncDirectory, connection: Connection) -> None:
        self._directory, self._connection = directory, connection

    def health(self) -> str:
        """See `AsyncDirectory.health`."""
        return self._drive(self._directory.health())

    def authenticate(self, username: str, password: str) -> User:
        """See `AsyncDirectory.authenticate`."""
        user = self._directory.authenticate(username, password)
        del password  # nobody who renders locals shall see it here
        return self._drive(user)

    def user(self, username: str, attributes: Sequence[str] | None = None) -> User:
        """See `AsyncDirectory.user`."""
        return self._drive(self._directory.user(username, attributes))

    def groups(self, username: str) -> list[str]:
        """See `AsyncDirectory.groups`."""
        return self._drive(self._directory.groups(username))

    def search(
        self,
        ldap_filter: str,
        values: Mapping[str, str] | None = None,
        *,
        base: str | None = None,
        attributes: Sequence[str] = ("*",),
    ) -> Iterator[Entry]:
        """See `AsyncDirectory.search`."""
        pages = self._directory.pages(ldap_filter, values, base=base, attributes=attributes)
        for page in self._connection.iterate(pages):
            yield from page

    def add(
        self,
        dn: str,
        attributes: Mapping[str, Values],
        values: Mapping[str, str] | None = None,
    ) -> None:
        """See `AsyncDirectory.add`."""
        self._drive(self._directory.add(dn, attributes, values))

    def modify(
        self,
        dn: str,
        replace: Mapping[str, Values] | None = None,
        *,
        add: Mapping[str, Values] | None = None,
        delete: Mapping[str, Values] | None = None,
        values: Mapping[str, str] | None = None,
    ) -> None:
        """See `AsyncDirectory.modify`."""
        self._drive(self._directory.modify(dn, replace, add=add, delete=delete, values=values))

    def delete(self, dn: str, values: Mapping[str, str] | None = None) -> None:
        """See `AsyncDirectory.delete`."""
        self._drive(self._directory.delete(dn, values))

    def apply(self, record: Record) -> None:
        """See `AsyncDirectory.apply`."""
        self._drive(self._directory.apply(record))

    def upsert(self, entries: Iterable[Entry]) -> list[UpsertResult]:
        """See `AsyncDirectory.upsert`."""
        return self._drive(self._directory.upsert(entries))

    def _drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._connection.drive(coroutine)
