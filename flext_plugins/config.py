"""Files and environment in, validated settings out; every value knows where it came from."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from .errors import ConfigError
from .settings import Address, Place, Secret, nearest, problem, problems_of

PREFIX = "FLEXT__"
NAMING = ("services", "plugins", "headers")
"""The tables whose keys are names rather than settings."""
_inside: ContextVar[bool] = ContextVar("flext_plugins.config", default=False)


class _Quiet(BaseModel):
    """A model that says what is wrong as a `ConfigError`, which holds no value."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="wrap")
    @classmethod
    def _told(
        cls, value: Any, handler: ModelWrapValidatorHandler[Any], info: ValidationInfo
    ) -> Any:
        if _inside.get():
            return handler(value)
        token = _inside.set(True)
        try:
            return handler(value)
        except ValidationError as error:
            found = problems_of(error, cls, value, (), info.context or {})
        finally:
            _inside.reset(token)
        raise report(found)


def report(problems: list[str]) -> ConfigError:
    """One error for all of a phase's problems."""
    if len(problems) == 1:
        return ConfigError(problems[0])
    lines = "".join(f"\n  - {each}" for each in problems)
    return ConfigError(f"{len(problems)} problems in the configuration:{lines}", problems)


class Timeout(_Quiet):
    """Seconds for each phase; one number sets all."""

    connect: PositiveFloat | None = 5.0
    read: PositiveFloat | None = 5.0
    write: PositiveFloat | None = 5.0
    pool: PositiveFloat | None = 5.0

    @model_validator(mode="before")
    @classmethod
    def _one_number(cls, value: Any) -> Any:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return dict.fromkeys(cls.model_fields, value)
        return value


class PluginTable:
    """What a plugin's table says, not looked at before its service is composed; shows keys only."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    def __repr__(self) -> str:
        return f"PluginTable({', '.join(self.values)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PluginTable) and self.values == other.values

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def parsed(value: Any) -> PluginTable:
            if isinstance(value, PluginTable):
                return value
            if isinstance(value, Mapping):
                return cls(value)
            raise ValueError("expected a table, or false to take the plugin off")

        return core_schema.no_info_plain_validator_function(
            parsed,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda table: dict.fromkeys(table.values, "**********")
            ),
        )


class Defaults(_Quiet):
    """What `[defaults]` may say for every service."""

    timeout: Timeout = Field(default_factory=Timeout)
    headers: dict[str, Secret] = Field(default_factory=dict)
    verify: bool | str = True
    """`False`, or the path of a CA file or folder."""
    cert: str | tuple[str, str] | None = None
    """A client certificate: a file, or certificate and key."""
    http2: bool = False
    proxy: Literal[False] | Address | None = None
    max_connections: PositiveInt = 100
    deadline: PositiveFloat | None = None
    """Seconds for a whole call."""
    allow_insecure: bool = False
    """Send credentials over plain HTTP to other machines."""

    @field_validator("verify", mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        """A variable can only say `false` as text."""
        return (
            {"true": True, "false": False}.get(value.lower(), value)
            if isinstance(value, str)
            else value
        )


class ServiceConfig(Defaults):
    """What `[services.NAME]` may say."""

    base_url: Address | None = None
    """Left out where the service only lends resources."""
    order: list[str] | None = None
    """All plugins' names, outermost first, where the stages are not what is wanted."""
    plugins: dict[str, Literal[False] | PluginTable] = Field(default_factory=dict)


class HostConfig(_Quiet):
    """The whole configuration."""

    defaults: Defaults = Field(default_factory=Defaults)
    plugins: dict[str, PluginTable] = Field(default_factory=dict)
    """For every service."""
    services: dict[str, ServiceConfig] = Field(default_factory=dict)
    allow_inline_secrets: bool = False
    _origins: dict[Place, str] = PrivateAttr(default_factory=dict)

    @property
    def origins(self) -> Mapping[Place, str]:
        """Where each value came from: a file, or a variable; values given in code have none."""
        return self._origins

    def service(self, name: str) -> ServiceConfig:
        """The service's settings, with the defaults under them.

        Raises:
            ConfigError: there is no such service; the message names the nearest.
        """
        own = self.services.get(name)
        if own is None:
            raise ConfigError(f"no service is named {name!r}{nearest(name, self.services)}")
        merged = self.defaults.model_dump(exclude_unset=True)
        _merge(merged, own.model_dump(exclude_unset=True, exclude={"plugins"}))
        return ServiceConfig.model_validate({**merged, "plugins": own.plugins})

    def tables(self, name: str) -> Iterator[tuple[str, dict[str, Any], dict[Place, Place]]]:
        """Each plugin of the service: its name, its settings, and the place of each of them."""
        service = self.services[name]
        for plugin in dict.fromkeys([*self.plugins, *service.plugins]):
            own = service.plugins.get(plugin)
            if own is False:
                continue
            values: dict[str, Any] = {}
            places: dict[Place, Place] = {(): ("plugins", plugin)}
            for table, place in (
                (self.plugins.get(plugin), ("plugins", plugin)),
                (own, ("services", name, "plugins", plugin)),
            ):
                if table is not None:
                    places[()] = place
                    _merge(values, table.values, places=places, under=place)
            yield plugin, values, places


def _merge(
    into: dict[str, Any],
    over: Mapping[str, Any],
    *,
    places: dict[Place, Place] | None = None,
    under: Place = (),
    at: Place = (),
) -> None:
    """Lay `over` on `into`, key by key; `places` learns where each came from."""
    for key, value in over.items():
        place = (*at, key)
        if isinstance(value, Mapping):
            inner = into[key] = dict(into[key]) if isinstance(into.get(key), Mapping) else {}
            _merge(inner, value, places=places, under=under, at=place)
        else:
            into[key] = value
        if places is not None:
            places[place] = (*under, *place)


def load(path: str | os.PathLike[str] | None, environment: str | None) -> HostConfig:
    """File, environment's file beside it, variables; later ones win, key by key.

    Raises:
        ConfigError: with all problems of the files' shape, or of one that cannot be read.
    """
    file = Path(path or os.environ.get("FLEXT_CONFIG") or "flext.toml")
    files = [file]
    if environment:
        files.append(file.with_name(f"{file.stem}.{environment}{file.suffix}"))
    values: dict[str, Any] = {}
    origins: dict[Place, str] = {}
    for each in files:
        _lay(values, _parsed(each), origins, str(each))
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX):
            place, value = _variable(variable, values)
            for key in reversed(place):
                value = {key: value}
            _lay(values, value, origins, variable)
    folded: dict[str, str] = {}
    for name in values.get("services") or ():
        other = folded.setdefault(_fold(name), name)
        if other != name:
            twice = f"services {other!r} and {name!r} have one name in the environment's variables"
            raise ConfigError(problem(("services",), twice, origins))
    config = HostConfig.model_validate(values, context=origins)
    config._origins = origins  # noqa: SLF001 - a private attribute of our own
    return config


def _lay(
    values: dict[str, Any], layer: Mapping[str, Any], origins: dict[Place, str], name: str
) -> None:
    places: dict[Place, Place] = {}
    _merge(values, layer, places=places)
    origins.update(dict.fromkeys(places, name))


def _parsed(file: Path) -> dict[str, Any]:
    """The tables of a file; what is wrong with it is told without its text."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix in {".yaml", ".yml"}:
            import yaml  # noqa: PLC0415 - for those who use it

            try:
                values = yaml.safe_load(text) or {}
            except yaml.YAMLError as error:
                mark = getattr(error, "problem_mark", None)
                what = f"not YAML, line {mark.line + 1}" if mark else "not YAML"
            else:
                if isinstance(values, dict):
                    return values
                what = "expected tables at the top"
        else:
            return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = str(error).rpartition("(")[2].rstrip(")")
        what = f"not TOML, {where}"
    except FileNotFoundError:
        what = "no such file; give the path, or set FLEXT_CONFIG"
    except (OSError, UnicodeError) as error:
        what = f"cannot be read ({type(error).__name__})"
    raise ConfigError(f"{file}: {what}")


def _fold(name: str) -> str:
    return str(name).lower().replace("-", "_")


def _variable(variable: str, values: Mapping[str, Any]) -> tuple[Place, Any]:
    """Where an environment variable points, matched with the names there are, and its value."""
    place: list[str] = []
    current: Any = values
    for part in variable.removeprefix(PREFIX).split("__"):
        known = current if isinstance(current, Mapping) else {}
        naming = bool(place) and place[-1] in NAMING
        new = part.lower().replace("_", "-") if naming else part.lower()
        place.append(next((key for key in known if _fold(key) == _fold(part)), new))
        current = known.get(place[-1])
    text = os.environ[variable]
    if len(place) > 1 and place[-2] == "plugins" and text.lower() == "false":
        return tuple(place), False
    if not text.startswith(("{", "[")):
        return tuple(place), text
    try:
        return tuple(place), json.loads(text)
    except ValueError:
        pass
    raise ConfigError(f"{variable}: begins like JSON and is not")
