"""Facts of HTTP that a plugin would otherwise copy: origins, `Retry-After`, methods."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping  # noqa: TC003 - so that `typing.get_type_hints` works
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv6Address
from urllib.parse import urlsplit

__all__ = [
    "IDEMPOTENT",
    "SAFE",
    "URL",
    "Origin",
    "basic_credentials",
    "is_header_value",
    "retry_after",
]

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that only read (RFC 9110, section 9.2.1)."""
IDEMPOTENT = SAFE | {"PUT", "DELETE"}
"""Methods that do the same if they are done twice (RFC 9110, section 9.2.2)."""

_PORTS = {"http": 80, "https": 443, "ldap": 389, "ldaps": 636}
"""RFC 9110, RFC 4516."""
_WEBSOCKETS = {"ws": "http", "wss": "https"}
"""A WebSocket begins as a request of HTTP (https://websockets.spec.whatwg.org/)."""
_NOT_IN_HOSTS = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]")
"""The forbidden domain code points of the URL standard (https://url.spec.whatwg.org/)."""
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MOST_SECONDS = 2.0**31
"""What a greater number counts as (RFC 9111, section 1.2.2)."""
_LONGEST_DATE = 64


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a URL (RFC 6454); two are equal if these are the same.

    Make one with `Origin.of(url)`, which brings all spellings into one form. `str()` gives it as a
    URL without user info, path and default port.
    """

    scheme: str
    """In lower case."""
    host: str
    """In lower case and ASCII, without brackets and without the dot at the end."""
    port: int | None
    """A number, unless the URL names none and the scheme has no default."""

    @classmethod
    def of(cls, url: object) -> Origin:
        """The origin of `url`: a string, or what `str()` makes an absolute URL, as in httpx.

        As in browsers, but for a dot at the end of the host: with it a name is looked up as it
        stands, and leads to the same. As there, `ws` is `http`, and `wss` is `https`.

        Raises:
            ValueError: it is no absolute URL; the message says why, without quoting it.
        """
        scheme, host, port, problem = "", "", None, ""
        try:
            parts = urlsplit(str(url))
            scheme, host = _WEBSOCKETS.get(parts.scheme, parts.scheme), parts.hostname or ""
        except ValueError:
            problem = "its host cannot be read"
        else:
            try:
                port = parts.port
            except ValueError:
                problem = "its port is no number from 0 to 65535"
        if not problem:
            if not scheme:
                problem = "it has no scheme"
            elif not host:
                problem = "it has no host"
            elif "\\" in parts.netloc:  # a browser takes it for a slash: the host is another
                problem = "its host cannot be read"
        if not problem:
            try:
                host = _host(host, is_literal=parts.netloc.rpartition("@")[2].startswith("["))
            except ValueError:
                problem = "its host is no name and no address"
        if problem:  # here, or the error would carry one that quotes the URL
            raise ValueError(f"expected an absolute URL such as https://host.example: {problem}")
        return cls(scheme, host, _PORTS.get(scheme) if port is None else port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


@dataclass(frozen=True, slots=True)
class URL:
    """The address of a request, as it is sent: an origin and a target.

    `str()` gives it without user info and fragment, which are not sent.
    """

    origin: Origin
    target: str
    """Path and query in origin-form, percent-encoded: what stands in a request's first line."""

    @property
    def scheme(self) -> str:
        """In lower case."""
        return self.origin.scheme

    @property
    def host(self) -> str:
        """In lower case and ASCII, without brackets."""
        return self.origin.host

    @property
    def port(self) -> int:
        """A number, also for a scheme's default port."""
        return self.origin.port or 0

    @property
    def path(self) -> str:
        """Percent-encoded; at least `/`."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str | None:
        """The part behind the `?`, percent-encoded; `None` if there is no `?`."""
        _, mark, query = self.target.partition("?")
        return query if mark else None

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"


def _host(text: str, *, is_literal: bool) -> str:
    """`text` in its one form.

    Raises:
        ValueError: it is no host.
    """
    if is_literal:
        return str(IPv6Address(text))
    if not text.isascii():
        import idna  # noqa: PLC0415 - few need it

        text = idna.encode(text, uts46=True).decode()
    name = text.removesuffix(".")
    if _NOT_IN_HOSTS.search(name) or not all(name.split(".")):
        raise ValueError
    return name


def is_header_value(text: str) -> bool:
    """Whether every client library can send `text` as a header's value, and a service read it.

    It can if it is visible ASCII, with spaces only in between (RFC 9110, section 5.5, without what
    that leaves open): not empty, no line break, no other control character, no letter beyond ASCII.
    The libraries refuse such values too, but their errors quote them.
    """
    return _HEADER_VALUE.fullmatch(text) is not None


def basic_credentials(user: str, password: str) -> str | None:
    """The value of `Authorization` for a user and a password, in UTF-8 (RFC 7617).

    `None` if that has no way to write them: a colon in the user, or a control character.
    """
    if ":" in user or _CONTROL.search(user + password):
        return None
    pair = f"{user}:{password}".encode(errors="surrogateescape")
    return f"Basic {b64encode(pair).decode()}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds from now that a response's `Retry-After` asks to wait (RFC 9110, section 10.2.3).

    Never negative: 0 for a date that is past; never infinite, however long the number. `None` if
    there is no such header, or it is neither whole seconds nor one of HTTP's three forms of a date.

    Args:
        headers: of any mapping; a plain one need not spell the name so.
    """
    value = headers.get("Retry-After")
    if value is None:
        same = (value for name, value in headers.items() if name.lower() == "retry-after")
        value = next(same, "")
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _MOST_SECONDS)
    if len(text) > _LONGEST_DATE:
        return None
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # the form of C's asctime names no zone; all of HTTP's are in UTC
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
