"""The directory for event loops; the one for threads drives it."""

from __future__ import annotations

import os
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from pydantic import SecretStr

from .change import changes, check_entries, listed, upsert
from .entry import (
    Entry,
    UpsertResult,
    User,
    as_names,
    as_text,
    common_name,
    fill,
    in_dn,
    in_filter,
    is_text,
    values_of,
)
from .errors import DirectoryError, InvalidCredentials, UserNotFound
from .failover import Failover, Job
from .naming import Naming
from .pool import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence

    from flext_plugins import Call, Connection

    from .entry import Values
    from .ldif import Modify, Record
    from .pool import Pool, Timeouts
    from .server import Servers
    from .session import Session
    from .settings import DirectorySettings

T = TypeVar("T")
P = ParamSpec("P")


class AsyncDirectory:
    """Reads and changes people, groups and everything else in a directory.

    Each method is one operation or several, which pass the service's plugins. All raise
    `DirectoryUnavailable` if no server answers, `DirectoryError` if one says no, and what plugins
    raise: an open circuit's `CircuitOpen`, which is a `Refused`, or `DeadlineExceeded`.
    """

    def __init__(
        self, settings: DirectorySettings, servers: Servers, connection: Connection
    ) -> None:
        self._settings, self._connection = settings, connection
        self._failover = Failover(settings, servers, connection)

    async def health(self) -> str:
        """The `host:port` of the server that answers, after a bind with the configured password."""

        def work(pool: Pool, timeouts: Timeouts, _: str) -> str:
            pool.run(lambda session: session.read("", "objectClass"), timeouts)
            return pool.address.target

        return await self._failover.run(Job("health", work, idempotent=True))

    async def authenticate(self, username: str, password: str) -> User:
        """The user of that name, if the password is right.

        An unknown name takes as long as a wrong password.

        Raises:
            InvalidCredentials: the name, the password or both are wrong, or several have the name.
            AccountLocked: too many wrong passwords, or an administrator locked it.
            AccountExpired: the password is right and has to be changed first.
        """
        call, kind = self._connection.begin_call(), type(password)
        is_string = isinstance(password, str)
        secret = SecretStr(password if is_string else "")
        # A bind without a password succeeds, as nobody in particular.
        is_possible = is_string and bool(password) and is_text(password)
        del password  # nobody who renders locals shall see it here
        if not is_string:
            problem = f"authenticate: the password has to be text, not {kind.__name__}"
            raise self._connection.add_context(DirectoryError(problem))
        if not is_possible:
            raise self._connection.add_context(InvalidCredentials())
        matches = await self._matches(username, self._settings.attributes, call)
        is_known = len(matches) == 1
        # For an unknown name a DN that nobody has, so that the answer takes as long.
        dn = matches[0].dn if is_known else f"cn={os.urandom(8).hex()},{self._settings.search_base}"

        def work(pool: Pool, timeouts: Timeouts, dn: str) -> None:
            pool.prove(dn, secret, timeouts)

        await self._failover.run(Job("bind", work, dn, call=call))
        if not is_known:
            raise self._connection.add_context(InvalidCredentials())
        return matches[0]

    async def user(self, username: str, attributes: Sequence[str] | None = None) -> User:
        """The user of that name, with the given attributes or those of the settings.

        Raises:
            UserNotFound: nobody has it, or several have.
        """
        wanted = self._settings.attributes if attributes is None else attributes
        names = self._checked(as_names, wanted)
        return await self._user(username, names, self._connection.begin_call())

    async def groups(self, username: str) -> list[str]:
        """The common names of the user's groups, in the directory's order.

        Raises:
            UserNotFound: nobody has that name, or several have.
        """
        settings, call = self._settings, self._connection.begin_call()
        if settings.group_filter is None:
            user = await self._user(username, ("memberOf",), call)
            every = (common_name(str(dn)) for dn in values_of(user.attributes, "memberOf"))
            return [name for name in every if name is not None]
        user = await self._user(username, ("1.1",), call)
        values = {"dn": user.dn, "username": user.username}
        base = settings.group_base or settings.search_base
        wanted = self._fill(settings.group_filter, values, in_filter)
        async with aclosing(self._pages(wanted, base, ("cn",), call)) as pages:
            entries = [entry async for page in pages for entry in page]
        # What a DN says is one value; those of `cn` are in no order, and others may add to them.
        firsts = (values_of(entry.attributes, "cn")[:1] for entry in entries)
        own = (common_name(entry.dn) for entry in entries)
        pairs = zip(own, firsts, strict=True)
        return [str(name or first[0]) for name, first in pairs if name or first]

    async def search(
        self,
        ldap_filter: str,
        values: Mapping[str, str] | None = None,
        *,
        base: str | None = None,
        attributes: Sequence[str] = ("*",),
    ) -> AsyncGenerator[Entry, None]:
        """Yield all entries that match; each page is an operation, read when it is needed.

        All pages come over one connection, which is held until the last page or until the iterator
        is closed. The deadline runs from the first page on.

        Args:
            ldap_filter: such as `(mail={mail})`; the values are escaped.
            values: for the placeholders in `ldap_filter` and `base`.
            base: the DN below which to look, in place of `search_base`.
            attributes: to be read.
        """
        pages = self.pages(ldap_filter, values, base=base, attributes=attributes)
        async with aclosing(pages):
            async for page in pages:
                for entry in page:
                    yield entry

    def pages(
        self,
        ldap_filter: str,
        values: Mapping[str, str] | None = None,
        *,
        base: str | None = None,
        attributes: Sequence[str] = ("*",),
    ) -> AsyncGenerator[list[Entry], None]:
        """Search like `search`, but yield a page at a time."""
        wanted = self._fill(ldap_filter, values, in_filter)
        where = self._settings.search_base
        if base is not None:
            where = self._fill(base, values, in_dn)
        return self._pages(wanted, where, self._checked(as_names, attributes))

    async def add(
        self,
        dn: str,
        attributes: Mapping[str, Values],
        values: Mapping[str, str] | None = None,
    ) -> None:
        """Add an entry; `values` fill placeholders in `dn`, such as `uid={uid},ou=people`."""
        new = self._checked(listed, attributes)
        await self._change("add", dn, values, lambda session, dn: session.add(dn, new))

    async def modify(
        self,
        dn: str,
        replace: Mapping[str, Values] | None = None,
        *,
        add: Mapping[str, Values] | None = None,
        delete: Mapping[str, Values] | None = None,
        values: Mapping[str, str] | None = None,
    ) -> None:
        """Change an entry, all at once or not at all.

        Args:
            dn: the entry; with placeholders for `values`.
            replace: the attributes' new values; no values remove the attribute.
            add: values to add to those that exist.
            delete: values to remove.
            values: for the placeholders in `dn`.
        """
        operations = self._checked(changes, replace, add, delete)
        await self._modify(dn, values, operations, idempotent=not (add or delete))

    async def delete(self, dn: str, values: Mapping[str, str] | None = None) -> None:
        """Delete an entry; `values` fill placeholders in `dn`."""
        await self._change("delete", dn, values, lambda session, dn: session.delete(dn))

    async def apply(self, record: Record) -> None:
        """Do what a record of `ldif.read` says; an `Entry` is added."""
        changetype: object = getattr(record, "changetype", None)
        if isinstance(record, Entry):
            await self.add(record.dn, record.attributes)
        elif changetype == "delete":
            await self.delete(record.dn)
        elif changetype == "modify":
            modify = cast("Modify", record)
            is_idempotent = all(each.kind == "replace" for each in modify.changes)
            await self._modify(modify.dn, None, modify.by_attribute(), idempotent=is_idempotent)
        else:
            problem = f"apply: expected a record of ldif.read, not {type(record).__name__}"
            raise self._connection.add_context(DirectoryError(problem))

    async def upsert(self, entries: Iterable[Entry]) -> list[UpsertResult]:
        """Add entries that do not exist, and replace these attributes of those that do.

        Each batch of `page_size` is an operation. An entry's failure is in its result. If the
        directory fails, what was done until then stays done, and the same call can be repeated.
        """
        call, every = self._connection.begin_call(), iter(entries)
        results: list[UpsertResult] = []
        while batch := [*islice(every, self._settings.page_size)]:
            self._checked(check_entries, batch)
            batch_results: list[UpsertResult] = []  # lasts from one attempt to the next

            def work(pool: Pool, timeouts: Timeouts, _: str) -> None:
                pool.run(
                    lambda session: upsert(session, batch, batch_results, timeouts),  # noqa: B023
                    timeouts,
                )

            await self._failover.run(
                Job("upsert", work, idempotent=True, call=call, size=len(batch))
            )
            results += batch_results
        return results

    async def _user(self, username: str, attributes: Sequence[str], call: Call) -> User:
        matches = await self._matches(username, attributes, call)
        if len(matches) != 1:
            raise self._connection.add_context(UserNotFound())
        return matches[0]

    async def _matches(self, username: str, wanted: Sequence[str], call: Call) -> list[User]:
        """The users of that name, as far as needed: two are already too many."""
        if not is_text(self._checked(as_text, username, "the name of a user")):
            return []
        ldap_filter = self._fill(self._settings.user_filter, {"username": username}, in_filter)
        naming = Naming(self._settings.name_templates, username, wanted)

        def search(session: Session, base: str) -> list[User]:
            users: list[User] = []
            for most in (2, 0):  # all, if one that has not the name may have hidden one that has
                entries = session.search(base, ldap_filter, naming.attributes, most=most).entries
                each_user = (naming.user_of(entry, session.type_of) for entry in entries)
                users = [user for user in each_user if user is not None]
                if len(entries) < 2 or len(users) == len(entries):
                    break
            return users

        base, work = self._settings.search_base, _in_session(search)
        return await self._failover.run(Job("search", work, base, idempotent=True, call=call))

    async def _pages(
        self, ldap_filter: str, base: str, attributes: Sequence[str], call: Call | None = None
    ) -> AsyncGenerator[list[Entry], None]:
        size, call = self._settings.page_size, call or self._connection.begin_call()

        def search(session: Session, base: str, cookie: bytes) -> tuple[list[Entry], bytes]:
            return session.search(base, ldap_filter, attributes, size=size, cookie=cookie)

        reader = Reader(search)
        job = Job("search", reader.page, base, idempotent=True, call=call, reader=reader)
        try:
            yield await self._failover.run(job)
            while not reader.is_over:
                yield await self._failover.resume(job)
        finally:
            reader.close()
            reader.leave()

    async def _change(
        self,
        name: str,
        dn: str,
        values: Mapping[str, str] | None,
        change: Callable[[Session, str], None],
        *,
        idempotent: bool = False,
    ) -> None:
        dn = self._fill(dn, values, in_dn)
        await self._failover.run(Job(name, _in_session(change), dn, idempotent=idempotent))

    async def _modify(
        self,
        dn: str,
        values: Mapping[str, str] | None,
        operations: Mapping[str, Sequence[tuple[str, Values]]],
        *,
        idempotent: bool,
    ) -> None:
        def work(session: Session, dn: str) -> None:
            session.modify(dn, operations)

        await self._change("modify", dn, values, work, idempotent=idempotent)

    def _fill(
        self, template: str, values: Mapping[str, str] | None, escape: Callable[[str], str]
    ) -> str:
        return self._checked(fill, template, values or {}, escape)

    def _checked(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Call `work`, which looks at what the caller has given before anything is asked."""
        try:
            return work(*args, **options)
        except DirectoryError as error:
            raise self._connection.add_context(error) from None


def _in_session(work: Callable[[Session, str], T]) -> Callable[[Pool, Timeouts, str], T]:
    """Wrap `work`, which takes a session, for a `Job`, which takes a server's pool."""
    return lambda pool, timeouts, dn: pool.run(lambda session: work(session, dn), timeouts)
