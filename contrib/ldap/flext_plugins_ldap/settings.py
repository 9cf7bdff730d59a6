"""The settings in `[services.NAME.plugins.ldap]`."""

import re
from string import Formatter
from typing import Annotated, Any, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    model_validator,
)
from pydantic_core import PydanticCustomError

from flext_plugins import Seconds, Secret
from flext_plugins.http import Origin

from .identity import IdentitySettings
from .syntax import is_dn, is_filter

_NAMES = re.compile(
    r"\(\s*([A-Za-z0-9.;-]+)\s*(?::[A-Za-z0-9.:-]+\s*)?[:~]?=\s*([^()*]*\{username\}[^()*]*)\)"
)
SCHEMES = frozenset({"ldap", "ldaps"})


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _url(value: str) -> str:
    expected = "expected ldap://HOST, ldaps://HOST or either with :PORT, and nothing after it"
    try:
        origin, url = Origin.of(value), urlsplit(value)
        is_one = origin.scheme in SCHEMES and origin.port != 0
    except ValueError:
        is_one = False
    if not is_one or value.rstrip("/") != f"{url.scheme}://{url.netloc}" or "@" in value:
        raise PydanticCustomError("url", expected)
    return value


class _Takes:
    """Checks that a filter has placeholders, and only those allowed."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __call__(self, value: str) -> str:
        try:
            names = {name for _, name, _, _ in Formatter().parse(value) if name is not None}
        except ValueError:
            names = set()
        tried = re.sub(r"\{[^{}]*\}", "x", value)
        if not names or not names <= set(self._names) or not is_filter(tried):
            placeholders = " or ".join(f"{{{name}}}" for name in self._names)
            raise PydanticCustomError(
                "filter", f"expected a filter in brackets with {placeholders} in it"
            )
        return value


def _dn(value: str) -> str:
    if value and not is_dn(value):
        raise PydanticCustomError("dn", "expected a DN, such as dc=example,dc=org")
    return value


Dn: TypeAlias = Annotated[str, AfterValidator(_dn)]
Url: TypeAlias = Annotated[str, AfterValidator(_url)]
_SEVERAL = BeforeValidator(_several, json_schema_input_type=str | list[str])


class DirectorySettings(BaseModel):
    """A directory: its addresses, the account to bind with, and the places of its users."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    url: Annotated[tuple[Url, ...], _SEVERAL] = ()
    """`ldap://HOST[:PORT]` or `ldaps://`, or a list of servers with the same content: if one fails,
    the next is tried."""
    starttls: bool | None = None
    """Whether to start TLS over `ldap://`; on by default."""
    allow_insecure: bool = False
    """Whether `starttls = false` may send passwords in the clear."""
    ca_file: str | None = None
    """A PEM file of the authorities to trust, in place of the system's."""
    bind_dn: str | None = None
    """The account to bind with; by default none."""
    bind_password: Secret | None = None
    """That account's, read again when it changes."""
    search_base: Dn = ""
    """The DN below which users and groups are."""
    user_filter: Annotated[str, AfterValidator(_Takes("username"))] = "(uid={username})"
    """Finds a user by name; for Active Directory `(sAMAccountName={username})`."""
    group_filter: Annotated[str, AfterValidator(_Takes("dn", "username"))] | None = None
    """Finds a user's groups, such as `(member={dn})` or `(memberUid={username})`; by default the
    user's own `memberOf` names them."""
    group_base: Dn | None = None
    """The DN below which groups are, if not `search_base`."""
    attributes: Annotated[tuple[str, ...], _SEVERAL] = ("*",)
    """The attributes to read of a user."""
    referral_hosts: Annotated[tuple[str, ...], _SEVERAL] = ()
    """`HOST` or `HOST:PORT` of servers that a referral may lead to; they get `bind_password`."""
    pool_size: Annotated[PositiveInt, Field(le=65_535)] = 4
    """The most connections to each server, those of users who log in included."""
    page_size: Annotated[PositiveInt, Field(le=10_000)] = 500
    """Entries in a page of a search, and in a batch of an upsert."""
    connect_timeout: Seconds | None = None
    """Seconds to connect, TLS included; by default the service's `timeout.connect`."""
    timeout: Seconds | None = None
    """Seconds for an answer; by default the service's `timeout.read`."""

    @property
    def name_templates(self) -> tuple[tuple[str, str], ...]:
        """The attributes that `user_filter` compares with the name, each with what it compares."""
        return tuple(_NAMES.findall(self.user_filter))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        plain = {urlsplit(url).scheme for url in self.url} == {"ldap"}
        has_plain = any(urlsplit(url).scheme == "ldap" for url in self.url)
        wrong = {
            "needs search_base, below which people and groups are": bool(self.url)
            and not self.search_base,
            "needs url": not self.url and bool(self.model_fields_set & _OF_A_DIRECTORY),
            "starttls = false would send passwords in the clear: "
            "use ldaps://, or say allow_insecure = true": has_plain
            and self.starttls is False
            and not self.allow_insecure,
            "starttls goes with ldap:// alone; ldaps:// is encrypted from the start": bool(
                self.starttls and self.url and not plain
            ),
            "bind_dn and bind_password go together": (self.bind_dn is None)
            is not (self.bind_password is None),
            "group_base is of no use without group_filter": self.group_base is not None
            and self.group_filter is None,
        }
        if problems := [what for what, is_so in wrong.items() if is_so]:
            raise PydanticCustomError("contradiction", "; ".join(problems))
        return self


_OF_A_DIRECTORY = frozenset(DirectorySettings.model_fields)


class LdapSettings(DirectorySettings, IdentitySettings):
    """The unnamed directory, others by name, and the headers that name a request's user."""

    connections: dict[str, DirectorySettings] = Field(default_factory=dict)
    """Further directories, by name, each a table of the settings from `url` to `timeout`."""

    @property
    def directories(self) -> dict[str | None, DirectorySettings]:
        """All directories by name; the unnamed one has `None`."""
        directories: dict[str | None, DirectorySettings] = {None: self} if self.url else {}
        directories.update(self.connections)
        return directories

    @model_validator(mode="after")
    def _has_a_directory(self) -> Self:
        missing = [name for name, each in self.connections.items() if not each.url]
        if missing:
            raise PydanticCustomError("directory", f"connections.{missing[0]} needs url")
        if not self.directories:
            raise PydanticCustomError("directory", "needs url, or connections with one")
        if self.identity is not None and not self.url:
            raise PydanticCustomError("directory", "identity needs the unnamed directory's url")
        return self
