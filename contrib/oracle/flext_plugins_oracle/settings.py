"""The settings in `[services.NAME.plugins.oracle]`."""

import re
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from flext_plugins import Seconds, Secret

from .names import NameRefused, identifier, table_name

_REFERENCE = r"(?:env|file):"
_URL = re.compile(
    r"oracle://"
    rf"(?:(?P<username>{_REFERENCE}[^:@]+|[^:@/?#\s]+)(?::(?P<password>{_REFERENCE}[^@]+))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@/?#()=\[\]\s]+)(?::(?P<port>[0-9]{1,5}))?"
    r"/(?P<service_name>[^/?#@()=\s]+)"
)
_EZCONNECT = re.compile(
    r"(?:(?:\w+:)?//)?(?P<host>\[.+?\]|[^/:?,;]+)(?:[^/]*?:(?P<port>\d+))?[^/]*/"
)
_HOST = re.compile(r"\(\s*HOST\s*=\s*(?P<host>[^)\s]+)", re.IGNORECASE)
_PORT = re.compile(r"\(\s*PORT\s*=\s*(?P<port>\d+)", re.IGNORECASE)
_WORD = re.compile(r"[^/?#@()=\[\]\s]+")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]*")


def _parts_of(url: Any) -> dict[str, str] | None:
    """The parts of a URL; `None` if it is not one of ours."""
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or not 0 < int(found["port"] or 1521) < 65536:
        return None
    parts = {key: value for key, value in found.groupdict().items() if value is not None}
    parts["host"] = parts["host"].strip("[]")
    if (name := parts.get("username")) and not Secret(name).reference:
        parts["username"] = unquote(name)
    return parts


def _account(value: Any) -> Any:
    if value == "":
        raise PydanticCustomError("account", "expected a name, or a reference to one")
    return Secret(value) if isinstance(value, str) and Secret(value).reference else value


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise PydanticCustomError("word", "expected a name without blanks, brackets, / @ = ? and #")
    return value


def _header(value: str) -> str:
    if not _HEADER.fullmatch(value):
        raise PydanticCustomError("header", "expected the name of a header, without _ in it")
    return value


MOST = 65_535
Sessions: TypeAlias = Annotated[int, Field(gt=0, le=MOST)]
Word: TypeAlias = Annotated[str, AfterValidator(_word)]
Header: TypeAlias = Annotated[str, AfterValidator(_header)]


class DatabaseSettings(BaseModel):
    """A database: its address, the account, and the sessions that are kept open to it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    url: str | None = None
    """`oracle://[USER[:PASSWORD]@]HOST[:PORT]/SERVICE_NAME`, the password by reference, such as
    `oracle://shop:env:DB_PASSWORD@db.example/PROD`; in place of `host` and what goes with it. The
    user is percent-encoded, or a reference too."""
    dsn: str | None = None
    """What Oracle's own tools take, in place of `host`: `HOST:PORT/SERVICE`, a `(DESCRIPTION=...)`
    or a name in the wallet's `tnsnames.ora`."""
    host: Word | None = None
    """The host of the listener."""
    port: int = Field(1521, ge=1, le=65535)
    """The port of the listener."""
    service_name: Word | None = None
    """The database, as its listener knows it."""
    sid: Word | None = None
    """The instance, for databases that are old enough to have one."""
    protocol: Literal["tcp", "tcps"] = "tcp"
    """`tcps` for TLS."""
    username: Annotated[InstanceOf[Secret] | str | None, BeforeValidator(_account)] = None
    """The account: as it is, or a reference."""
    password: Secret | None = None
    """That account's, read again when it changes."""
    schema_name: str | None = Field(None, alias="schema")
    """The schema of tables that are named without one, if not the account's own."""
    ca_file: str | None = None
    """A PEM file of the authorities to trust, in place of the system's."""
    wallet: str | None = None
    """A folder with `ewallet.pem`: authorities, and a certificate of our own."""
    wallet_password: Secret | None = None
    """The password of the key in it."""
    server_dn: str | None = None
    """The name that the server's certificate has to bear; by default that of the host."""
    pool_min: Annotated[int, Field(ge=0, le=MOST)] = 1
    """So many sessions stay open, however long they are idle; they are opened with the first."""
    pool_max: Sessions = 4
    """The most sessions in use at once, in threads and event loops of this process together."""
    pool_size: Sessions | None = None
    """Another word for `pool_max`, as the FLEXT guide has it."""
    pool_increment: Sessions = 1
    """So many are opened at once when there are too few."""
    required: bool = False
    """Whether a database that does not answer at the start, or does not accept the account, is an
    error, and not a warning."""
    connect_timeout: Seconds | None = None
    """Seconds to open a session, TLS and login included; by default the service's
    `timeout.connect`."""
    timeout: Seconds | None = None
    """Seconds for a statement; by default the service's `timeout.read`."""
    record_statements: bool = False
    """Whether spans tell the text of statements; never their values."""
    loads_table: str = "flext_loads"
    """The table that keeps how far named loads have come; made when it is first needed."""

    @model_validator(mode="before")
    @classmethod
    def _spelt_out(cls, values: Any) -> Any:
        """Put what `url` and `pool_size` say in the place of the settings that they stand for."""
        if not isinstance(values, dict):
            return values
        parts: dict[str, Any] = _parts_of(values.get("url")) or {}
        _refuse_twice("url", parts, values)
        if re.fullmatch(r"0*[1-9]\d*", str(values.get("pool_size"))):
            _refuse_twice("pool_size", {"pool_max": None}, values)
            parts["pool_max"] = values["pool_size"]
        return {**values, **parts}

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and _parts_of(value) is None:
            raise PydanticCustomError(
                "url",
                "expected oracle://USER:env:NAME@HOST:PORT/SERVICE_NAME, "
                "or with file:/PATH for the password, which is never written out",
            )
        return value

    @field_validator("dsn")
    @classmethod
    def _is_without_account(cls, value: str | None) -> str | None:
        if value is not None and ("@" in value or not value.strip()):
            raise PydanticCustomError(
                "dsn",
                "expected HOST:PORT/SERVICE_NAME, (DESCRIPTION=...) or a name in tnsnames.ora; "
                "user and password are settings of their own",
            )
        return value

    @field_validator("schema_name", "loads_table")
    @classmethod
    def _is_name(cls, value: str | None, info: ValidationInfo) -> str | None:
        try:
            if value is not None:
                (table_name if info.field_name == "loads_table" else identifier)(value)
        except NameRefused as error:
            expected = str(error).partition(": ")[2].replace("{", "{{").replace("}", "}}")
            raise PydanticCustomError("name", f"it is no name: {expected}") from None
        return value

    @property
    def _whose(self) -> str:
        return " of its own"  # the unnamed database's are not inherited

    @property
    def has_address(self) -> bool:
        """Whether it says where the database is."""
        return self.host is not None or self.dsn is not None

    @property
    def target(self) -> str:
        """`host:port`, as operations name it, or the name in `tnsnames.ora`."""
        host, port = self.host, str(self.port)
        if host is None:
            dsn = self.dsn or ""
            found, at = _HOST.search(dsn), _PORT.search(dsn)
            if not dsn.lstrip().startswith("("):
                found = at = _EZCONNECT.match(dsn)
            if found is None:
                return dsn
            host, port = found["host"].strip("[]"), (at and at["port"]) or port
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        of_host = {"service_name", "sid", "port", "protocol"} & self.model_fields_set
        is_plain = self.host is not None and self.protocol == "tcp"
        wrong = {
            "dsn says where the database is: leave out host and what goes with it": self.dsn
            is not None
            and bool(self.host or of_host),
            "host needs service_name or sid": self.host is not None
            and not (self.service_name or self.sid or self.dsn),
            "either service_name or sid": bool(self.service_name and self.sid),
            "needs url, dsn or host": not self.has_address
            and bool(self.model_fields_set & _OF_A_DATABASE),
            f"needs username and password{self._whose}": self.has_address
            and (self.username is None or self.password is None),
            "pool_min is more than pool_max": self.pool_min > self.pool_max,
            'ca_file, wallet and server_dn need protocol = "tcps"': is_plain
            and bool(self.ca_file or self.wallet or self.server_dn),
            "wallet_password needs wallet": self.wallet_password is not None
            and self.wallet is None,
        }
        if problems := [what for what, is_so in wrong.items() if is_so]:
            raise PydanticCustomError("contradiction", "; ".join(problems))
        return self


def _refuse_twice(name: str, parts: Any, values: Any) -> None:
    if twice := sorted(parts.keys() & values.keys()):
        raise PydanticCustomError("twice", f"{name} says {twice[0]} already")


_OF_A_DATABASE = frozenset(DatabaseSettings.model_fields) - {"required", "record_statements"}


class OracleSettings(DatabaseSettings):
    """The unnamed database, others by name, and the headers that name it to the service."""

    connections: dict[str, DatabaseSettings] = Field(default_factory=dict)
    """Further databases, by name, each a table of the settings from `url` to `loads_table`."""
    database_header: Header | None = "X-Database"
    """The header that says `oracle` to the service; `""` for none."""
    schema_header: Header | None = "X-Schema"
    """The header that names `schema`, if there is one; `""` for none."""

    @property
    def databases(self) -> dict[str | None, DatabaseSettings]:
        """All databases by name; the unnamed one has `None`."""
        databases: dict[str | None, DatabaseSettings] = {None: self} if self.has_address else {}
        databases.update(self.connections)
        return databases

    @property
    def _whose(self) -> str:
        return ""

    @model_validator(mode="after")
    def _has_a_database(self) -> Self:
        missing = [name for name, each in self.connections.items() if not each.has_address]
        if missing:
            raise PydanticCustomError(
                "database", f"connections.{missing[0]} needs url, dsn or host"
            )
        if not self.databases:
            raise PydanticCustomError("database", "needs url, dsn or host, or connections with one")
        if self.database_header and self.database_header == self.schema_header:
            raise PydanticCustomError("headers", "each header needs a name of its own")
        return self
