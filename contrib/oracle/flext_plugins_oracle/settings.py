"""The settings in `[services.NAME.plugins.oracle]`."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from flext_plugins import Secret  # noqa: TC001 - pydantic looks here

from .names import NameRefused, identifier

_REFERENCE = r"(?:env|file):"
_URL = re.compile(
    r"oracle://"
    rf"(?:(?P<username>{_REFERENCE}[^:@]+|[^:@/?#]+):(?P<password>{_REFERENCE}[^@]+)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@/?#\[\]\s]+)(?::(?P<port>[0-9]{1,5}))?"
    r"/(?P<service_name>[^/?#@\s]+)"
)
Port = PositiveInt


class DatabaseSettings(BaseModel):
    """A database: its address, the account, and the sessions that are kept open to it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    url: str | None = None
    """`oracle://[USER:PASSWORD@]HOST[:PORT]/SERVICE_NAME`, user and password by reference, such as
    `oracle://shop:env:DB_PASSWORD@db.example/PROD`; in place of `host` and what goes with it."""
    dsn: str | None = None
    """What Oracle's own tools take, in place of `host`: `HOST:PORT/SERVICE`, a `(DESCRIPTION=...)`
    or a name in the wallet's `tnsnames.ora`."""
    host: str | None = None
    """The host of the listener."""
    port: int = Field(1521, ge=1, le=65535)
    """The port of the listener."""
    service_name: str | None = None
    """The database, as its listener knows it."""
    sid: str | None = None
    """The instance, for databases that are old enough to have one."""
    protocol: Literal["tcp", "tcps"] = "tcp"
    """`tcps` for TLS."""
    username: Secret | None = None
    """The account; it may be written out, as the password may not."""
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
    pool_min: NonNegativeInt = 1
    """So many sessions stay open, however long they are idle; they are opened with the first."""
    pool_max: PositiveInt = 4
    """The most sessions of this process, in threads and event loops together."""
    pool_increment: PositiveInt = 1
    """So many are opened at once when there are too few."""
    required: bool = False
    """Whether a database that does not answer at the start is an error, and not a warning."""
    connect_timeout: PositiveFloat | None = None
    """Seconds to open a session, TLS and login included; by default the service's
    `timeout.connect`."""
    timeout: PositiveFloat | None = None
    """Seconds for a statement; by default the service's `timeout.read`."""
    record_statements: bool = False
    """Whether spans tell the text of statements; never their values."""
    loads_table: str = "flext_loads"
    """The table that keeps how far named loads have come; made when it is first needed."""

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, values: Any) -> Any:
        """The parts of `url` in the place of the settings that they stand for."""
        url = values.get("url") if isinstance(values, dict) else None
        if not isinstance(url, str):
            return values
        found = _URL.fullmatch(url)
        if found is None:
            raise PydanticCustomError(
                "url",
                "url: expected oracle://USER:env:NAME@HOST:PORT/SERVICE_NAME, "
                "or with file:/PATH for the password, which is never written out",
            )
        parts = {key: value for key, value in found.groupdict().items() if value is not None}
        if twice := sorted(parts.keys() & values.keys()):
            raise PydanticCustomError("url", f"url says {twice[0]} already")
        parts["host"] = parts["host"].strip("[]")
        return {**values, **parts}

    @field_validator("schema_name", "loads_table")
    @classmethod
    def _is_name(cls, value: str | None) -> str | None:
        try:
            return None if value is None else str(identifier(value))
        except NameRefused as error:
            raise PydanticCustomError("name", str(error).replace("{", "{{")) from None

    @property
    def has_address(self) -> bool:
        """Whether it says where the database is."""
        return self.host is not None or self.dsn is not None

    @property
    def target(self) -> str:
        """`host:port`, as operations name it, or the `dsn`."""
        if self.host is None:
            found = re.search(
                r"\(HOST\s*=\s*([^)\s]+)\s*\)\s*\(PORT\s*=\s*(\d+)", self.dsn or "", re.IGNORECASE
            )
            return f"{found[1]}:{found[2]}" if found else (self.dsn or "").partition("/")[0]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        of_host = {"service_name", "sid", "port", "protocol"} & self.model_fields_set
        wrong = {
            "dsn says where the database is: leave out host and what goes with it": self.dsn
            is not None
            and bool(self.host or of_host),
            "host needs service_name or sid": self.host is not None
            and (self.service_name is None) is (self.sid is None),
            "needs url, dsn or host": not self.has_address
            and bool(self.model_fields_set & _OF_A_DATABASE),
            "needs username and password": self.has_address
            and (self.username is None or self.password is None),
            "pool_min is more than pool_max": self.pool_min > self.pool_max,
            'ca_file and server_dn need protocol = "tcps"': self.host is not None
            and self.protocol == "tcp"
            and bool(self.ca_file or self.server_dn),
        }
        if problems := [what for what, is_so in wrong.items() if is_so]:
            raise PydanticCustomError("contradiction", "; ".join(problems))
        return self


_OF_A_DATABASE = frozenset(DatabaseSettings.model_fields) - {"required", "record_statements"}


class OracleSettings(DatabaseSettings):
    """The unnamed database, others by name, and the headers that name it to the service."""

    connections: dict[str, DatabaseSettings] = Field(default_factory=dict)
    """Further databases, by name, each a table of the settings from `url` to `loads_table`."""
    database_header: str | None = "X-Database"
    """The header that says `oracle` to the service; `""` for none."""
    schema_header: str | None = "X-Schema"
    """The header that names `schema`, if there is one; `""` for none."""

    @property
    def databases(self) -> dict[str | None, DatabaseSettings]:
        """All databases by name; the unnamed one has `None`."""
        databases: dict[str | None, DatabaseSettings] = {None: self} if self.has_address else {}
        databases.update(self.connections)
        return databases

    @model_validator(mode="after")
    def _has_a_database(self) -> Self:
        missing = [name for name, each in self.connections.items() if not each.has_address]
        if missing:
            raise PydanticCustomError(
                "database", f"connections.{missing[0]} needs url, dsn or host"
            )
        if not self.databases:
            raise PydanticCustomError("database", "needs url, dsn or host, or connections with one")
        return self
