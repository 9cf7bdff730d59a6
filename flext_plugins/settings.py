"""What settings are made of: secrets by reference, names of services, and problems told safely."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from pydantic import BaseModel, GetCoreSchemaHandler, SecretStr, ValidationError
from pydantic_core import CoreSchema, core_schema

from .errors import ConfigError
from .redaction import MASK, redact_url

Place: TypeAlias = tuple[str, ...]
"""The keys that lead to a value: `("services", "flexcore", "base_url")`."""


class Secret(SecretStr):
    """A `SecretStr` that may stand elsewhere: `env:NAME`, or `file:/path`, read when it changes."""

    _read: tuple[tuple[int, ...], str] | None = None

    @property
    def reference(self) -> str | None:
        """`env:NAME` or `file:/path`; `None` for a secret that was written out."""
        text = super().get_secret_value()
        return text if text.startswith(("env:", "file:")) else None

    def get_secret_value(self) -> str:
        """The secret itself.

        Raises:
            ConfigError: the variable is not set, or the file cannot be read.
        """
        reference = self.reference
        if reference is None:
            return super().get_secret_value()
        kind, _, where = reference.partition(":")
        if kind == "env":
            value = os.environ.get(where)
            if value is None:
                raise ConfigError(f"{reference}: this variable is not set")
            return value
        return self._from_file(where)

    def _from_file(self, path: str) -> str:
        try:
            found = os.stat(path)  # noqa: PTH116 - two of the three lines that make it atomic
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._read is None or self._read[0] != state:
                with open(path, encoding="utf-8") as file:  # noqa: PTH123
                    self._read = state, file.read().rstrip("\r\n")
            return self._read[1]
        except (OSError, UnicodeError) as error:
            problem = type(error).__name__
        raise ConfigError(f"file:{path}: cannot be read ({problem})")

    def __hash__(self) -> int:
        return hash(super().get_secret_value())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and SecretStr.get_secret_value(
            self
        ) == SecretStr.get_secret_value(other)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_read"}


class Address(Secret):
    """A URL whose user info is a secret, or may hold references: `https://svc:env:PASSWORD@host`."""

    _USERINFO = re.compile(
        r"^(?P<scheme>[a-z][a-z0-9+.-]*://)"
        r"(?P<user>(?:env|file):[^:@]+|[^:@/?#]*)(?::(?P<password>(?:env|file):[^@]+|[^@/?#]*))?@"
        r"(?P<rest>.*)$",
        re.IGNORECASE,
    )

    def split(self) -> tuple[str, Secret | None, Secret | None]:
        """The URL without user info, the user and the password."""
        found = self._USERINFO.match(self.get_secret_value())
        if found is None:
            return self.get_secret_value(), None, None
        user, password = found["user"], found["password"]
        return found["scheme"] + found["rest"], Secret(user), Secret(password or "")

    def get_url(self) -> str:
        """The URL with its user info, percent-encoded where it was a reference."""
        url, user, password = self.split()
        if user is None or password is None:
            return url
        scheme, _, rest = url.partition("://")
        parts = [
            quote(part.get_secret_value(), safe="") if part.reference else part.get_secret_value()
            for part in (user, password)
        ]
        return f"{scheme}://{':'.join(parts)}@{rest}"

    def __str__(self) -> str:
        return self.reference or redact_url(SecretStr.get_secret_value(self))

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


class Basic(Secret):
    """The `Authorization` header for a user and a password."""

    def __init__(self, user: Secret, password: Secret) -> None:
        super().__init__("")
        self._user, self._password = user, password

    def get_secret_value(self) -> str:
        parts = (
            part.get_secret_value() if part.reference else unquote(part.get_secret_value())
            for part in (self._user, self._password)
        )
        return f"Basic {b64encode(':'.join(parts).encode()).decode()}"


class ServiceName(str):
    """The name of another service, which a plugin may then send to with `connection.request`."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value inside settings or tables, with its place."""
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, (*place, str(key)))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*place, str(index)))
    else:
        yield place, value


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    near = get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def origin_of(place: Place, origins: Mapping[Place, str]) -> str:
    """Where the value at `place`, or the table around it, came from."""
    for length in range(len(place), -1, -1):
        if place[:length] in origins:
            return origins[place[:length]]
    return ""


def problem(place: Place, what: str, origins: Mapping[Place, str]) -> str:
    """One sentence: where it came from, which key, what is wrong."""
    origin = origin_of(place, origins)
    return ": ".join(part for part in (origin, ".".join(place), what) if part)


def problems_of(
    error: ValidationError,
    model: type[BaseModel],
    raw: Any,
    place: Place,
    origins: Mapping[Place, str],
) -> list[str]:
    """What a validation found, without any value."""
    found = []
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        inner = tuple(str(key) for key in each["loc"])
        if each["type"] == "extra_forbidden":
            what = f"unknown key{nearest(inner[-1], _fields(model, inner[:-1]))}"
        elif each["type"] == "missing":
            what = "is required"
        else:
            what = each["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            if each["type"] in {"value_error", "assertion_error"}:
                what = _without_values(what, raw)
        found.append(problem((*place, *inner), what, origins))
    return list(dict.fromkeys(found))


def _fields(model: type[BaseModel], place: Place) -> Iterable[str]:
    """The keys that the model at `place` inside `model` takes."""
    current: Any = model
    for key in place:
        field = current.model_fields.get(key) if hasattr(current, "model_fields") else None
        kinds = [field.annotation] if field is not None else list(getattr(current, "__args__", ()))
        current = next(iter(_models(kinds)), None) or (kinds[-1] if kinds else None)
    return current.model_fields if hasattr(current, "model_fields") else ()


def _models(kinds: Iterable[Any]) -> Iterator[Any]:
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind


def _without_values(message: str, raw: Any) -> str:
    """`message`, which a plugin's own validator wrote, with everything configured masked."""
    for _, value in leaves(raw):
        text = str(SecretStr.get_secret_value(value) if isinstance(value, Secret) else value)
        shown = [text]
        if text.startswith(("env:", "file:")):
            try:
                shown.append(Secret(text).get_secret_value())
            except ConfigError:
                continue
        for secret in shown:
            if len(secret) > 2:
                message = message.replace(secret, MASK)
    return message
