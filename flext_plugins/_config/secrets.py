"""Types for settings: secrets by reference, addresses, names of services."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, GetCoreSchemaHandler, SecretStr
from pydantic import Secret as Hidden
from pydantic_core import CoreSchema, core_schema

from flext_plugins._errors import ConfigError
from flext_plugins.http import Origin
from flext_plugins.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

    from flext_plugins._config.provenance import Place


_REFERENCE = re.compile(r"(env|file):(.+)", re.DOTALL)


class Secret(SecretStr):
    """A `SecretStr` that may stand elsewhere: `env:NAME`, or `file:/path`, read when it changes."""

    _read: tuple[tuple[int, ...], str] | None = None

    def written(self) -> str:
        """The configured text: the secret itself, or the reference to it."""
        return super().get_secret_value()

    @property
    def reference(self) -> str | None:
        """`env:NAME` or `file:/path`; `None` for a secret that was written out."""
        return self.written() if _REFERENCE.fullmatch(self.written()) else None

    def get_secret_value(self) -> str:
        """The secret itself.

        Raises:
            ConfigError: the variable is not set, the file cannot be read, or it is empty.
        """
        written = self.written()
        if not written.startswith(("env:", "file:")):
            return written
        found = _REFERENCE.fullmatch(written)
        if found is None:
            return written
        if found[1] == "file":
            return self._from_file(found[2])
        if (value := os.environ.get(found[2])) is None:
            raise ConfigError(f"{found[0]}: this variable is not set")
        if not value:
            raise ConfigError(f"{found[0]}: this variable is empty")
        return value

    def _from_file(self, path: str) -> str:
        try:
            found = os.stat(path)  # noqa: PTH116 - follows links, as Kubernetes swaps them
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._read is None or self._read[0] != state:
                with open(path, encoding="utf-8") as file:  # noqa: PTH123
                    self._read = state, file.read().rstrip("\r\n")
            if not self._read[1]:
                raise ConfigError(f"file:{path}: is empty")
            return self._read[1]
        except (OSError, ValueError) as error:
            problem = type(error).__name__
        raise ConfigError(f"file:{path}: cannot be read ({problem})")

    def __hash__(self) -> int:
        return hash(self.written())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.written() == other.written()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in {"_read", "_parts"}}

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema: Any = super().__get_pydantic_core_schema__(source, handler)
        # pydantic's own reads the secret to mask it, which a reference may not survive.
        schema["serialization"] = core_schema.plain_serializer_function_ser_schema(
            str, when_used="json"
        )
        generated: CoreSchema = schema
        return generated


class Address(Secret):
    """A URL whose user info is a secret, or may hold references: `https://svc:env:PASSWORD@host`."""

    _USERINFO = re.compile(
        r"^(?P<scheme>[a-z][a-z0-9+.-]*://)"
        r"(?P<user>(?:env|file):[^:@]+|[^:/?#]*)(?::(?P<password>(?:env|file):[^@]+|[^/?#]*))?@"
        r"(?P<rest>.*)$",
        re.IGNORECASE,
    )

    _parts: tuple[str, Secret | None, Secret | None] | None = None

    def split(self) -> tuple[str, Secret | None, Secret | None]:
        """The URL without user info, the user and the password.

        Raises:
            ConfigError: it is no URL, or a reference to one that is missing.
        """
        parts = self._parts
        if parts is None:
            parts = self._divided()
            if self.reference is None:  # else it may say something else the next time
                self._parts = parts
        return parts

    def _divided(self) -> tuple[str, Secret | None, Secret | None]:
        text = super().get_secret_value()
        found = self._USERINFO.match(text)
        url = found["scheme"] + found["rest"] if found else text
        if not _is_url(url):
            if "://" not in url:
                raise ConfigError("expected a URL that begins with its scheme, such as http://")
            raise ConfigError("expected a URL with a host, its user and password percent-encoded")
        if found is None:
            return url, None, None
        return url, Secret(found["user"]), Secret(found["password"] or "")

    def get_secret_value(self) -> str:
        """The URL with its user info, percent-encoded where it was a reference."""
        url, user, password = self.split()
        if user is None or password is None:
            return url
        scheme, _, rest = url.partition("://")
        parts = [
            quote(part.get_secret_value(), safe="") if part.reference else part.written()
            for part in (user, password)
        ]
        return f"{scheme}://{':'.join(parts)}@{rest}"

    def _display(self) -> str:
        return redact(self.written())

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def checked(address: Address) -> Address:
            try:
                if not address.reference:
                    address.split()
            except ConfigError as error:
                raise ValueError(str(error)) from None
            return address

        schema = super().__get_pydantic_core_schema__(source, handler)
        return core_schema.no_info_after_validator_function(checked, schema)


def _is_url(text: str) -> bool:
    try:
        return Origin.of(text).port != 0 and "@" not in urlsplit(text).netloc
    except ValueError:
        return False


class Basic(Secret):
    """The `Authorization` header for a user and a password."""

    def __init__(self, user: Secret, password: Secret) -> None:
        super().__init__("")
        self._user, self._password = user, password

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Basic) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self._user, self._password))

    def get_secret_value(self) -> str:
        parts = (
            part.get_secret_value() if part.reference else unquote(part.written())
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
    """Every value inside settings or tables, with its place; what is empty is a value too."""
    if isinstance(value, Hidden):
        value = value.get_secret_value()
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, (list, tuple, set, frozenset)) and value:
        value = dict(enumerate(value))
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*place, str(key)))
    else:
        yield place, value


class ServiceURL(str):
    """A URL where no configured service is, which a plugin may then send to.

    It does so with `connection.request(url.origin, method, url)`. The connection there has the
    `[defaults]` without their headers and, of the plugins for every service, the observers.
    """

    __slots__ = ()

    @property
    def origin(self) -> ServiceURL:
        """Scheme, host and port, which stand for the name of a service: one for all spellings."""
        return ServiceURL(Origin.of(self))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls._checked, core_schema.str_schema())

    @classmethod
    def _checked(cls, text: str) -> ServiceURL:
        user = None
        if is_http := text.lower().startswith(("http://", "https://")):
            try:
                _, user, _ = Address(text).split()
            except ConfigError:
                is_http = False
        if not is_http or user is not None:
            raise ValueError("expected a URL with http:// or https://, without user and password")
        if "#" in text or " " in text or not (text.isascii() and text.isprintable()):
            raise ValueError("expected a URL without # and with everything else percent-encoded")
        return cls(text)
