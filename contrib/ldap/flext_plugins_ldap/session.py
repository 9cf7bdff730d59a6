"""A session: one connection to one server, with ldap3 inside and our errors outside."""

from __future__ import annotations

import math
import re
import selectors
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .entry import Entry, as_list, decode, values_of
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
    LDAPInvalidFilterError,
    ldap3,
)
from .policy import POLICY, verdict
from .wire import Candidates, TimedSocket

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import SecretStr

    from .entry import Values
    from .schema import Schema
    from .wire import Address

PAGES = "1.2.840.113556.1.4.319"
WITHOUT_A_FILE: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""A selector without a file descriptor of its own; Windows has only the second."""
BUSY = frozenset({51, 52})
"""Result codes of a server that cannot do it now: busy, unavailable."""
SIZE_LIMIT_EXCEEDED, EXISTS = 4, 68
_TLS = re.compile(r"\[SSL: [^\]]*\][^(\"]*[^(\"\s]")
"""Finds OpenSSL's words among those of Python and ldap3."""
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
        self._schema = schema
        self.idle_since = 0.0
        self._target = address.target
        server = Candidates(address, self)
        self._connection: Any = ldap3.Connection(
            server, client_strategy=ldap3.SYNC, auto_referrals=False, raise_exceptions=False
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
            self._schema.check(self, wanted, attributes)
        with self._speaking("search"):
            self._connection.search(
                base,
                wanted,
                ldap3.SUBTREE,
                attributes=[*attributes] or ["1.1"],
                paged_size=size,
                paged_cookie=cookie or None,
                size_limit=most,
            )
        result = self._connection.result
        if not (most and result["result"] == SIZE_LIMIT_EXCEEDED):
            self._check("search")
        entries = [
            Entry(each["dn"], decode(each["raw_attributes"]))
            for each in self._connection.response
            if each["type"] == "searchResEntry"  # the others refer to other servers
        ]
        self._connection.response = None
        control = (result.get("controls") or {}).get(PAGES)
        return Page(entries, control["value"]["cookie"] if control else b"")

    def read(self, dn: str, attribute: str) -> tuple[str | bytes, ...]:
        """Read the values of one attribute of an entry; none if it cannot be seen."""
        with self._speaking("read"):
            self._connection.search(dn, "(objectClass=*)", ldap3.BASE, attributes=[attribute])
        entries = [each for each in self._connection.response if each["type"] == "searchResEntry"]
        return values_of(decode(entries[0]["raw_attributes"]), attribute) if entries else ()

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
    def _speaking(self, what: str) -> Iterator[None]:
        self._connection.request = None
        try:
            yield
        except LDAPInvalidFilterError:
            raise DirectoryError(f"{what}: the filter is empty or malformed") from None
        except LDAPInvalidDnError:
            raise DirectoryError(f"{what}: {HINTS[34]}", 34) from None
        except TimeoutError:
            raise Late(f"{self._target} did not answer in time") from None
        except (LDAPCommunicationError, OSError) as error:
            raise DirectoryUnavailable(f"{self._target}: {what}: {_reason(error)}") from None
        except LDAPException as error:  # it was not sent
            kind = type(error).__name__.removeprefix("LDAP").removesuffix("Error")
            raise DirectoryError(f"{what}: ldap3 cannot send that ({kind})") from None
        except Exception as error:
            if self._connection.request is None:
                kind = type(error).__name__
                raise DirectoryError(f"{what}: the values cannot be sent ({kind})") from None
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
