"""Types for settings: secrets by reference, addresses, names of services."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, GetCoreSchemaHandler, SecretStr
from pydantic import Secret as Hidden
from pydantic_core import CoreSchema, core_schema

from flext_plugins._errors import ConfigError
from flext_plugins._logging import SECONDS, Occasions, tell_stale
from flext_plugins.http import Origin, basic_credentials, is_header_value
from flext_plugins.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

    from flext_plugins._config.provenance import Place


LONGEST = 1 << 20
"""So many characters may a secret have that stands in a file."""
_REFERENCE = re.compile(r"(env|file):(.+)", re.DOTALL)
_stale = Occasions(SECONDS)
_are_needed: ContextVar[bool] = ContextVar("flext_plugins.secrets", default=True)


@contextmanager
def without_secrets() -> Iterator[None]:
    """Let what is not there be something that is no secret, to see how services are composed."""
    token = _are_needed.set(False)
    try:
        yield
    finally:
        _are_needed.reset(token)


class Secret(SecretStr):
    """A `SecretStr` that may stand elsewhere: `env:NAME`, or `file:/path`, read when it changes.

    A file that is gone or empty once it was read leaves its last value in use, with a warning.
    """

    _read: tuple[tuple[int, ...], str] | None = None
    _stand_in = "deadbeef"
    """What it is where it is not needed, and not there: hexadecimal and base64 too."""

    def written(self) -> str:
        """The configured text: the secret itself, or the reference to it."""
        return super().get_secret_value()

    @property
    def reference(self) -> str | None:
        """`env:NAME` or `file:/path`; `None` for a secret that was written out."""
        return self.written() if _REFERENCE.fullmatch(self.written()) else None

    def get_secret_value(self) -> str:
        """The secret itself; what is read elsewhere is without the line ends after it.

        Raises:
            ConfigError: the variable is not set, it is empty, or the file was so or could not be
                read from the first time on; or it is not text.
        """
        written = self.written()
        found = _REFERENCE.fullmatch(written) if written.startswith(("env:", "file:")) else None
        if found is None:
            value, where = written, ""
        else:
            where = f"{found[0]}: "
            try:
                value = self._look_up(*found.groups())
            except ConfigError:
                if _are_needed.get():
                    raise
                value = self._stand_in
        if value.isascii() or _is_text(value):
            return value
        del value, written  # nobody who renders locals shall see them here
        raise ConfigError(f"{where}it is not text in UTF-8")

    def _look_up(self, kind: str, place: str) -> str:
        return self._from_file(place) if kind == "file" else _from_variable(place)

    def _from_file(self, path: str) -> str:
        problem, is_wrong = "this file is empty", False
        try:
            found = os.stat(path)  # noqa: PTH116 - follows links, as Kubernetes swaps them
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._read is None or self._read[0] != state:
                with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123
                    value = file.read(LONGEST + 1)
                if len(value) > LONGEST:
                    raise ConfigError(f"file:{path}: has more than {LONGEST:,} characters")
                if value := value.rstrip("\r\n"):
                    self._read = state, value
            if self._read is not None and self._read[0] == state:
                return self._read[1]
        except (OSError, ValueError) as error:
            problem = f"cannot be read ({type(error).__name__})"
            is_wrong = isinstance(error, UnicodeError)
        if self._read is None or is_wrong:
            raise ConfigError(f"file:{path}: {problem}")
        tell_stale(_stale, f"file:{path}", problem)
        return self._read[1]

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


def is_there(secret: Secret) -> bool:
    """Whether a reference leads to something; what was written out is there."""
    found = _REFERENCE.fullmatch(secret.written())
    try:
        if found is not None:
            secret._look_up(*found.groups())  # noqa: SLF001
    except ConfigError:
        return False
    return True


def _from_variable(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise ConfigError(f"env:{name}: this variable is not set")
    if not (value := value.rstrip("\r\n")):
        raise ConfigError(f"env:{name}: this variable is empty")
    return value


def _is_text(value: str) -> bool:
    """Whether it can be encoded: bytes that are not UTF-8 reach a variable as half characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class HeaderSecret(Secret):
    """A secret that is the value of a header."""

    def get_secret_value(self) -> str:
        """The secret itself.

        Raises:
            ConfigError: it cannot be read, or no header can carry it: a client library's own error
                would quote it.
        """
        value = super().get_secret_value()
        if is_header_value(value):
            return value
        del value  # nobody who renders locals shall see it here
        where = f"{self.reference}: " if self.reference else ""
        raise ConfigError(f"{where}a header cannot carry it; expected {HEADER_VALUE}")

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def of_any_secret(value: Any) -> Any:
            is_other = isinstance(value, Secret) and not isinstance(value, cls)
            return cls(value.written()) if is_other else value

        schema = super().__get_pydantic_core_schema__(source, handler)
        return core_schema.no_info_before_validator_function(of_any_secret, schema)


HEADER_VALUE = "visible ASCII characters, with spaces only in between"
"""What `is_header_value` asks for, in words."""


class Address(Secret):
    """A URL whose user info is a secret, or may hold references: `https://svc:env:PASSWORD@host`."""

    _USERINFO = re.compile(
        r"^(?P<scheme>[a-z][a-z0-9+.-]*://)"
        r"(?P<user>(?:env|file):[^:@]+|[^:/?#]*)(?::(?P<password>(?:env|file):[^@]+|[^/?#]*))?@"
        r"(?P<rest>.*)$",
        re.IGNORECASE,
    )

    _parts: tuple[str, Secret | None, Secret | None] | None = None
    _stand_in = "https://not-set.invalid"

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

    def basic(self) -> Basic | None:
        """The `Authorization` header for its user info, if it has any.

        Raises:
            ConfigError: as `split` does.
        """
        _, user, password = self.split()
        return Basic(user, password) if user is not None and password is not None else None

    def _divided(self) -> tuple[str, Secret | None, Secret | None]:
        text = super().get_secret_value()
        found = self._USERINFO.match(text)
        url = found["scheme"] + found["rest"] if found else text
        if not _is_url(url):
            what = "a URL with a host, its user and password percent-encoded"
            if "://" not in url:
                what = "a URL that begins with its scheme, such as http://"
            del text, found, url  # nobody who renders locals shall see them here
            raise ConfigError(f"expected {what}")
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
        """The header's value.

        Raises:
            ConfigError: a reference leads nowhere, or RFC 7617 has no way to write one of the two.
        """
        value = basic_credentials(*(_decoded(each) for each in (self._user, self._password)))
        if value is not None:
            return value
        raise ConfigError(
            "expected a user without a colon, and a user and password without control characters"
        )


def _decoded(part: Secret) -> str:
    """A part of a URL's user info, which is percent-encoded unless it stands elsewhere."""
    text = part.get_secret_value()
    return text if part.reference else unquote(text, errors="surrogateescape")


class ServiceName(str):
    """The name of another service, which a plugin may then send to with `connection.request`."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


_SCALARS = frozenset({str, int, float, bool, type(None)})


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value inside settings or tables, with its place; what is empty is a value too."""
    if type(value) in _SCALARS:  # most are
        yield place, value
        return
    if isinstance(value, Hidden):
        value = value.get_secret_value()
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)  # or it would come in another order in each process
    if isinstance(value, (list, tuple)) and value:
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
