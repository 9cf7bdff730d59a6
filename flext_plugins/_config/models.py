"""The shape of a configuration; every value knows where it came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

import pydantic
from packaging.utils import canonicalize_name
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from flext_plugins._config.provenance import CODE, Place, Sources, Where
from flext_plugins._config.secrets import Address, HeaderSecret, leaves
from flext_plugins._config.validation import listed, nearest, problems_of, report
from flext_plugins._errors import ConfigError
from flext_plugins._messages import TOKEN
from flext_plugins.redaction import printable

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

_PATH = re.compile(r"/(?!/)[!\"$-\[\]-~]*")
"""A path, with a query or none: visible ASCII without `#` and backslashes."""
LONGEST_NAME = 200
"""Characters of the name of a service, a plugin or a header."""
_inside: ContextVar[bool] = ContextVar("flext_plugins.config", default=False)


class _Quiet(BaseModel):
    """A model that says what is wrong as a `ConfigError`, which holds no value."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="wrap")
    @classmethod
    def _say_what_is_wrong(
        cls, value: Any, handler: ModelWrapValidatorHandler[Any], info: ValidationInfo
    ) -> Any:
        if _inside.get():
            return handler(value)
        token = _inside.set(True)
        try:
            return handler(value)
        except ValidationError as error:
            found = problems_of(error, cls, value, Where(info.context or {}))
        finally:
            _inside.reset(token)
        raise report(found)


LONGEST = 1_000_000_000
"""Seconds that every library can wait."""
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=LONGEST, allow_inf_nan=False)]


class Timeout(_Quiet):
    """Seconds for each phase; one number sets all."""

    connect: Seconds | None = 5.0
    """Until there is a connection, TLS included."""
    read: Seconds | None = 5.0
    """Until the next bytes of an answer come."""
    write: Seconds | None = 5.0
    """Until the next bytes of a request are sent."""
    pool: Seconds | None = 5.0
    """Until one of the service's connections is free."""

    @model_validator(mode="before")
    @classmethod
    def _one_number(cls, value: Any) -> Any:
        return _phases(value) if isinstance(value, (int, float, str)) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        seconds = {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST}
        return {"anyOf": [seconds, handler(core_schema)]}


def _phases(value: Any) -> dict[str, Any]:
    """One number for `timeout`, spelled out for each phase."""
    return dict.fromkeys(Timeout.model_fields, value)


class PluginTable(pydantic.Secret[dict[str, Any]]):
    """A plugin's table, not looked at before its service is composed; shows its keys only."""

    def _display(self) -> str:
        return ", ".join(self.get_secret_value())


def _named(table: dict[str, Any]) -> dict[str, Any]:
    """A table whose keys are names, which end in labels, spans, files and lines of the log."""
    for name in table:
        if name != printable(name, LONGEST_NAME) or not name.strip():
            shown = printable(name, 40)
            what = f"expected 1 to {LONGEST_NAME} characters that can be printed, and not blanks"
            raise ValueError(f"{shown!r} is no name: {what}")
    return table


def _fields(headers: dict[str, Any]) -> dict[str, Any]:
    """A table whose keys are the names of headers."""
    for name in headers:
        if len(name) > LONGEST_NAME or not TOKEN.fullmatch(name):
            shown = printable(name, 40)
            raise ValueError(f"{shown!r} is no name of a header: letters, digits and - usually")
    return headers


def _spelt_once(plugins: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, str] = {}
    for name in _named(plugins):
        if (other := known.setdefault(canonicalize_name(name), name)) != name:
            raise ValueError(f"{name!r} and {other!r} are one name, spelt in two ways")
    return plugins


class Defaults(_Quiet):
    """The table `[defaults]`, which holds for every service."""

    timeout: Timeout = Field(default_factory=Timeout)
    """Seconds: one number for all phases, or a table of them."""
    headers: dict[str, HeaderSecret] = Field(default_factory=dict)
    """Sent to the service's own origin, where the caller has not set them."""
    verify: bool | str = True
    """Whose certificates are trusted: `true` for the usual authorities, the path of a CA file or
    folder, or `false` for anybody's."""
    cert: str | tuple[str, str] | None = None
    """A client certificate: a file, or certificate and key."""
    http2: bool = False
    """Speak HTTP/2 where the service does; needs httpx's extra `http2`. In an event loop a hundred
    exchanges share a socket then."""
    transport: Literal["default", "aiohttp", "own"] = "default"
    """What exchanges go over: the client library's own transport, aiohttp's connections (extra
    `aiohttp`, in event loops), or the application's, which `host.provide` was told of."""
    proxy: Literal[False] | Address | None = None
    """The address of a proxy, or `false` for none; by default what the environment says. One with
    `socks5://` or `socks5h://` needs the extra `socks` of httpx, and of requests for its sessions.
    """
    max_connections: Annotated[int, Field(gt=0, le=65_535)] = 100
    """Sockets, and exchanges at a time; further ones wait."""
    keepalive_expiry: Seconds = 5.0
    """Seconds that a connection is kept which nobody uses, in httpx and httpx2."""
    max_plugin_read: Annotated[int, Field(gt=0, le=1_000_000_000)] = 1024 * 1024
    """Bytes of an answer, as sent and decoded, that a plugin may read, such as a token service's.
    The application may read any number."""
    deadline: Seconds | None = None
    """Seconds for a call: all its attempts and hops, and what its plugins wait for."""
    allow_insecure: bool = False
    """Send credentials over plain `http://` to another machine."""

    _names_of_headers = field_validator("headers")(_fields)

    @field_validator("verify", "proxy", mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        """A variable can only say `false` as text."""
        words = {"true": True, "false": False}
        return words.get(value.lower(), value) if isinstance(value, str) else value


class ServiceConfig(Defaults):
    """A table `[services.NAME]`."""

    base_url: Address | None = None
    """Its address; user info is sent as basic authentication. Left out where the service only lends
    resources."""
    new: bool = False
    """Whether the environment's file, or a variable, adds this service, which would else be taken
    for a misspelt one."""
    health: str | None = None
    """A path at which it says how it is, such as `/health`, for `host.health()`: with a status
    from 200 to 299 if all is well."""
    order: list[str] | None = None
    """All plugins' names, outermost first, where their stages are not what is wanted."""
    plugins: dict[str, Literal[False] | PluginTable] = Field(default_factory=dict)
    """Each plugin's settings, by its name, beside the plugins for every service; `false` takes one
    of those off."""

    _one_spelling = field_validator("plugins")(_spelt_once)

    @field_validator("health")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        if value is not None and not _PATH.fullmatch(value):
            raise ValueError("expected a path, such as /health")
        return value


class HostTable(_Quiet):
    """The table `[host]`, about all services together."""

    drain: Annotated[float, Field(ge=0, le=LONGEST, allow_inf_nan=False)] = 0.0
    """Seconds that calls under way have left when a `with` around the host ends."""
    allow: list[str] | None = None
    """Patterns of distributions and modules: no other plugin is imported."""
    deny: list[str] = Field(default_factory=list)
    """Patterns of distributions and modules: no such plugin is imported, whatever `allow` says."""


class HostConfig(_Quiet):
    """The whole configuration."""

    host: HostTable = Field(default_factory=HostTable)
    """What holds for all services together."""
    defaults: Defaults = Field(default_factory=Defaults)
    """What a service may say but `base_url`, `order` and `plugins`, for every service."""
    plugins: dict[str, Literal[False] | PluginTable] = Field(default_factory=dict)
    """The settings of plugins for every service, by name."""
    services: dict[str, ServiceConfig] = Field(default_factory=dict)
    """The services, by name."""
    allow_inline_secrets: bool = False
    """Whether plugins' secrets may be written out in a file."""
    _sources: Sources = PrivateAttr(default_factory=Sources)

    _names = field_validator("services")(_named)
    _one_spelling = field_validator("plugins")(_spelt_once)

    @model_validator(mode="after")
    def _remember(self, info: ValidationInfo) -> Self:
        said = self.model_dump(exclude_unset=True)
        given = info.context or dict.fromkeys((place for place, _ in leaves(said)), CODE)
        self._sources = Sources(given)
        return self

    @property
    def sources(self) -> Mapping[Place, str]:
        """The source of each value: a file, a variable, or `code`."""
        return self._sources

    def unnamed(self, origin: str) -> ServiceConfig:
        """The settings of what is at `origin`, which no service is configured for."""
        merged = self.defaults.model_dump(exclude_unset=True, exclude={"headers"})
        return ServiceConfig.model_validate({**merged, "base_url": origin})

    def service(self, name: str) -> ServiceConfig:
        """The service's settings, with the defaults under them.

        Raises:
            ConfigError: there is no such service; the message names the nearest.
        """
        own = self.services.get(name)
        if own is None:
            near = nearest(name, self.services) or f"; there are {listed(self.services) or 'none'}"
            raise ConfigError(f"no service is named {name!r}{near}")
        merged = self.defaults.model_dump(exclude_unset=True)
        ours = {each.lower() for each in own.headers}
        for header in [each for each in merged.get("headers", ()) if each.lower() in ours]:
            del merged["headers"][header]
        _lay(merged, own.model_dump(exclude_unset=True, exclude={"plugins"}), {}, "")
        return ServiceConfig.model_validate({**merged, "plugins": own.plugins})

    def where(self, name: str) -> Where:
        """The places where the settings of a service stand."""
        return Where(self._sources, ("services", name), ("defaults",))

    def tables(self, name: str) -> Iterator[tuple[str, dict[str, Any], Where]]:
        """Each plugin of the service: its name, its settings, and where they stand.

        A name may be spelt in another way for the service than for every service.
        """
        own = self.services[name].plugins if name in self.services else {}
        above: tuple[Place, Place] = (), ("services", name)
        layers: dict[str, list[tuple[Place, Literal[False] | PluginTable]]] = {}
        for place, tables in zip(above, (self.plugins, own), strict=True):
            for plugin, table in tables.items():
                layer = (*place, "plugins", plugin), table
                layers.setdefault(canonicalize_name(plugin), []).append(layer)
        for found in layers.values():
            values: dict[str, Any] = {}
            roots: list[Place] = []
            for root, table in found:
                if table is not False:
                    _lay(values, table.get_secret_value(), {}, "")
                    roots.insert(0, root)
            if found[-1][1] is not False:
                yield found[0][0][-1], values, Where(self._sources, *roots)


def _lay(
    into: dict[str, Any],
    over: Mapping[str, Any],
    sources: dict[Place, str],
    source: str,
    at: Place = (),
) -> None:
    """Lay `over` on `into`, key by key; `sources` learns where each value came from."""
    for key, value in over.items():
        place, below = (*at, str(key)), into.get(key)
        if isinstance(value, Mapping) and (value or isinstance(below, Mapping)):
            if not isinstance(below, Mapping):
                is_number = key == "timeout" and below and at and "plugins" not in at
                below = _phases(below) if is_number else {}
                if not is_number:
                    sources.pop(place, None)
            into[key] = inner = dict(below)
            _lay(inner, value, sources, source, place)
        else:
            if isinstance(below, Mapping):
                for stale, _ in leaves(below, place):
                    sources.pop(stale, None)
            into[key] = value
            sources[place] = source
