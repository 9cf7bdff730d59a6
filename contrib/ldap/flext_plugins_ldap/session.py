"""A session: one connection to one server, with ldap3 inside and our errors outside."""

from __future__ import annotations

import math
import re
import selectors
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .entry import Entry, as_list, decode, is_text, values_of
from .errors import (
    DirectoryError,
    DirectoryUnavailable,
    Garbled,
    Late,
    Referral,
    Unreachable,
)
from .library import (
    LDAPCommunicationError,
    LDAPException,
    LDAPInvalidDnError,
    ldap3,
)
from .policy import POLICY, verdict
from .syntax import is_filter
from .wire import Candidates, TimedSocket

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from pydantic import SecretStr

    from .entry import Values
    from .schema import Schema
    from .wire import Address

    RawAttributes: TypeAlias = Mapping[str, Sequence[bytes]]
    """Values by attribute, as they came."""

PAGES = "1.2.840.113556.1.4.319"
WITHOUT_A_FILE: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""A selector without a file descriptor of its own; Windows has only the second."""
BUSY = frozenset({51, 52})
"""Result codes of a server that cannot do it now: busy, unavailable."""
SIZE_LIMIT_EXCEEDED, EXISTS = 4, 68
UNSEEN = frozenset({32, 50})
"""Result codes of a server that does not show an entry to us."""
PRESENT = "(objectClass=*)"
"""The filter that every entry matches."""
_RANGE = re.compile(r";range=(\d+)-(\d+|\*)(?=;|$)", re.IGNORECASE)
"""The option by which Active Directory says which values of many it gives: `;range=0-1499`."""
_TLS = re.compile(r"\[SSL: [^\]]*\][^(\"]*[^(\"\s]")
"""Finds OpenSSL's words among those of Python and ldap3."""
FORMS = (
    "expected (NAME=VALUE), where * alone stands for any value, or (&...), (|...), (!...) of such"
)
SENDABLE = "names and values have to be text that is valid Unicode, values may be bytes"
HINTS = {
    4: "ask for less, or for pages that are smaller",
    17: "check the names of the attributes",
    21: "check the values",
    32: "nothing has that DN; check search_base, group_base, or the DN that was given",
    34: "the DN is malformed; check search_base, or the DN that was given",
    50: "bind_dn may not do that, or is not set",
    65: "check the object classes and what they need",
}


class Page(NamedTuple):
    """A page of a search's entries."""

    entries: list[Entry]
    cookie: bytes
    """Asks for the next page on the same connection; empty after the last."""


class Session:
    """An open connection, for one operation at a time.

    Args:
        address: the server's.
        until: the time when it must be open, on the clock of `time.monotonic`.
        schema: knows the server's attribute names.

    Raises:
        Unreachable: the server cannot be reached, or not be trusted.
    """

    def __init__(self, address: Address, until: float, schema: Schema) -> None:
        self.until = until
        self.has_sent = False
        """Whether the latest request has come as far as the socket."""
        self._schema = schema
        self.idle_since = 0.0
        self._target = address.target
        server = Candidates(address, self)
        self._connection: Any = ldap3.Connection(
            server,
            client_strategy=ldap3.SYNC,
            auto_referrals=False,
            auto_range=False,  # it does not look at the results of what it asks
            raise_exceptions=False,
            return_empty_attributes=False,
        )
        try:
            self._connection.open(read_server_info=False)
            if not isinstance(self._connection.socket, TimedSocket):
                self._connection.socket = TimedSocket(self._connection.socket, self)
            if address.tls is not None and not address.at_once:
                self._connection.start_tls(read_server_info=False)
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            problem = "the answer is not LDAP"  # which ldap3 notices in many ways
            if isinstance(error, (LDAPException, OSError)):
                problem = _reason(error)
            raise Unreachable(f"{self._target} cannot be reached: {problem}") from None

    def remaining(self) -> float | None:
        """Seconds that may still be waited; `None` for ever.

        Raises:
            TimeoutError: no time remains.
        """
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return None if left == math.inf else left

    @property
    def is_stale(self) -> bool:
        """Whether the server has sent something unasked, which means that it is gone."""
        selector = WITHOUT_A_FILE()
        selector.register(self._connection.socket.fileno(), selectors.EVENT_READ)
        return bool(selector.select(0))

    def close(self) -> None:
        """Unbind and close, without waiting for the server."""
        self.until = time.monotonic() + 0.5
        with suppress(Exception):
            self._connection.unbind()
        with suppress(Exception):
            self._connection.strategy.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the socket, which ldap3 leaves open if connecting failed."""
        with suppress(Exception):
            self._connection.socket.close()

    def bind(self, dn: str, password: SecretStr) -> None:
        """Bind as `dn`.

        Raises:
            AuthenticationFailed: the password is wrong, or the account may not bind.
        """
        connection = self._connection
        connection.user, connection.authentication = dn, ldap3.SIMPLE
        if not is_text(password.get_secret_value()):
            raise DirectoryError(f"bind: the password cannot be sent; {SENDABLE}")
        # As bytes: ldap3 prepares text, which can leave nothing of it, and that would be anybody.
        connection.password = password.get_secret_value().encode()
        try:
            with self._speaking("bind"):
                connection.bind(read_server_info=False, controls=[(POLICY, False, None)])
        finally:
            connection.password = connection.request = None
        failed = verdict(connection.result)
        if failed is not None:
            raise failed
        self._check("bind")

    def search(
        self,
        base: str,
        wanted: str,
        attributes: Sequence[str],
        *,
        size: int | None = None,
        cookie: bytes | None = None,
        most: int = 0,
    ) -> Page:
        """Search with the filter `wanted`: a page of `size` entries, or `most` of them."""
        if not cookie:
            self._schema.learn(self)
        with self._speaking("search", wanted):
            self._connection.search(
                base,
                wanted,
                ldap3.SUBTREE,
                attributes=[*attributes] or ["1.1"],
                paged_size=size,
                paged_cookie=cookie or None,
                size_limit=most,
            )
        result, every = self._connection.result, self._entries()
        if not (result["result"] == SIZE_LIMIT_EXCEEDED and 0 < most <= len(every)):
            self._check("search")
        asked = {part.name for each in attributes if (part := _part(each)) is not None}
        entries = [Entry(dn, decode(self._whole(dn, raw, asked))) for dn, raw in every]
        if not cookie:
            self._schema.check(wanted, attributes, entries)
        control = (result.get("controls") or {}).get(PAGES)
        return Page(entries, control["value"]["cookie"] if control else b"")

    def read(self, dn: str, attribute: str) -> tuple[str | bytes, ...]:
        """Read the values of one attribute of an entry; none if we may not see it."""
        entries = self._read("read", dn, attribute, unseen=UNSEEN)
        return values_of(decode(entries[0][1]), attribute) if entries else ()

    def _read(
        self, what: str, dn: str, attribute: str, unseen: Collection[int] = ()
    ) -> list[tuple[str, RawAttributes]]:
        """Search one entry for one attribute; results among `unseen` are no error."""
        with self._speaking(what):
            self._connection.search(dn, PRESENT, ldap3.BASE, attributes=[attribute])
        if self._connection.result["result"] not in unseen:
            self._check(what)
        return self._entries()

    def _entries(self) -> list[tuple[str, RawAttributes]]:
        """Take the entries of the latest answer, without what refers to other servers."""
        response, self._connection.response = self._connection.response, None
        return [
            (each["dn"], {name: got or () for name, got in each["raw_attributes"].items()})
            for each in response
            if each["type"] == "searchResEntry"
        ]

    def _whole(self, dn: str, raw: RawAttributes, asked: Collection[str]) -> RawAttributes:
        """The values of an entry, also those that the server gives in further ranges only.

        Args:
            dn: the entry.
            raw: its values as they came.
            asked: attributes of which the caller asked for a range, which stay as they came.

        Raises:
            DirectoryError: a range did not come: no list is cut.
        """
        whole: dict[str, Sequence[bytes]] = {
            name: values for name, values in raw.items() if _part(name) is None
        }
        for described, values in raw.items():
            part = _part(described)
            if part is None:
                continue
            if part.name in asked:
                whole[described] = values
                continue
            name, every, last = _RANGE.sub("", described), [*values], part.last
            while last is not None:
                further, last = self._further(dn, name, last + 1)
                every += further
            whole[name] = every
        return whole

    def _further(self, dn: str, name: str, first: int) -> tuple[Sequence[bytes], int | None]:
        """The values of an attribute from one on, and the number of the last, if more follow."""
        wanted = f"{name};range={first}-*"
        given = [each for _, raw in self._read("search", dn, wanted) for each in raw.items()]
        parts = [(values, part) for each, values in given if (part := _part(each)) is not None]
        next_ = [
            (values, part.last)
            for values, part in parts
            if (part.name, part.first) == (name.lower(), first)
            and (part.last is None or part.last >= first)
        ]
        if not next_:
            raise DirectoryError(f"search: {name} has more values, and the server gave none")
        return max(next_, key=lambda each: len(each[0]))  # an empty one may stand beside it

    def type_of(self, attribute: str) -> str:
        """The server's one name for an attribute without its options, in lower case."""
        return self._schema.type_of(attribute)

    def add(self, dn: str, attributes: Mapping[str, Values]) -> None:
        """Add an entry."""
        with self._speaking("add"):
            self._connection.add(
                dn, attributes={name: as_list(values) for name, values in attributes.items()}
            )
        self._check("add")

    def modify(self, dn: str, changes: Mapping[str, Sequence[tuple[str, Values]]]) -> None:
        """Modify an entry by changes, each with its operation."""
        with self._speaking("modify"):
            self._connection.modify(
                dn,
                {
                    name: [(operation, as_list(values)) for operation, values in each]
                    for name, each in changes.items()
                },
            )
        self._check("modify")

    def delete(self, dn: str) -> None:
        """Delete an entry."""
        with self._speaking("delete"):
            self._connection.delete(dn)
        self._check("delete")

    @contextmanager
    def _speaking(self, what: str, wanted: str = PRESENT) -> Iterator[None]:
        """Raise our errors in the place of ldap3's; `wanted` is the filter, if there is one."""
        self.has_sent = False
        try:
            yield
        except LDAPInvalidDnError:
            raise DirectoryError(f"{what}: {HINTS[34]}", 34) from None
        except Exception as error:
            is_of_wire = isinstance(error, (LDAPCommunicationError, OSError))
            # An OSError may be the caller's own, out of the values that he gave.
            if not self.has_sent and not isinstance(error, LDAPCommunicationError):
                raise _unsendable(error, what, wanted) from None
            if isinstance(error, TimeoutError):
                raise Late(f"{self._target} did not answer in time") from None
            if is_of_wire:
                raise DirectoryUnavailable(f"{self._target}: {what}: {_reason(error)}") from None
            raise Garbled(f"{self._target}: {what}: the answer is not LDAP") from None

    def _check(self, what: str) -> None:
        """Raise the error that the latest result stands for, if any."""
        result = self._connection.result
        code = result["result"]
        if code == 0:
            return
        if code == 10:
            raise Referral(tuple(result["referrals"] or ()))
        problem = f"{what}: {result['description']} ({code})"
        if code in BUSY:
            raise DirectoryUnavailable(f"{self._target}: {problem}", code)
        message = " ".join(str(result["message"] or "").split())
        problem += f": {message}" if message else ""
        raise DirectoryError(problem + (f"; {HINTS[code]}" if code in HINTS else ""), code)


class _Part(NamedTuple):
    """A part of an attribute's values."""

    name: str
    """The attribute's, in lower case, without the range."""
    first: int
    """The number of the first value, from 0."""
    last: int | None
    """That of the last one; `None` if no more follow."""


def _part(name: str) -> _Part | None:
    """The part that `name` is of, such as `member;range=0-1499`; `None` if it is all."""
    match = _RANGE.search(name)
    if match is None:
        return None
    last = None if match[2] == "*" else int(match[2])
    return _Part(_RANGE.sub("", name).lower(), int(match[1]), last)


def _unsendable(error: Exception, what: str, wanted: str) -> DirectoryError:
    """The error for a request that was never sent, since ldap3 could not encode it."""
    if is_text(wanted) and not is_filter(wanted):
        return DirectoryError(f"{what}: the filter is empty or malformed; {FORMS}")
    kind = type(error).__name__.removeprefix("LDAP")
    return DirectoryError(f"{what}: the values cannot be sent ({kind}); {SENDABLE}")


def _reason(error: BaseException) -> str:
    """The reason in ldap3's error, without the words that it puts around those of others."""
    text = " ".join(str(error).split())
    if match := _TLS.search(text):
        hint = "; check ca_file" if "issuer" in text or "self-signed" in text else ""
        return f"{match[0]}{hint}"
    if isinstance(error, TimeoutError) or "timed out" in text:
        return "timed out"
    for around in ("socket connection error while opening: ", "socket ssl wrapping error: "):
        text = text.replace(around, "")
    return text.replace("wrap socket error: ", "").replace(
        "invalid server address", "the host name is not known"
    )
