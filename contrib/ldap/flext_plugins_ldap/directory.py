"""The directory as applications see it, once for each world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    Values = Sequence[str | bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known about one name in the directory."""

    dn: str
    attributes: Mapping[str, tuple[str | bytes, ...]]
    """Their values, as text where they are UTF-8."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody in the directory."""

    username: str
    dn: str
    attributes: Mapping[str, tuple[str | bytes, ...]]


@dataclass(frozen=True, slots=True)
class Upserted:
    """What became of one entry."""

    dn: str
    outcome: Literal["added", "modified", "failed"]
    error: Exception | None = None


class AsyncDirectory:
    """A directory, asked from an event loop.

    Every method raises `DirectoryUnavailable`, and what the service's plugins raise.
    """

    async def health(self) -> None: ...
    async def authenticate(self, username: str, password: str) -> User: ...
    async def user(self, username: str) -> User: ...
    async def groups(self, username: str) -> list[str]: ...
    def search(
        self,
        filter: str,
        values: Mapping[str, str] | None = None,
        *,
        base: str | None = None,
        attributes: Sequence[str] = ("*",),
    ) -> AsyncIterator[Entry]: ...
    async def add(self, dn: str, attributes: Mapping[str, Values]) -> None: ...
    async def modify(self, dn: str, attributes: Mapping[str, Values]) -> None: ...
    async def delete(self, dn: str) -> None: ...
    async def upsert(self, entries: Iterable[Entry]) -> list[Upserted]: ...
