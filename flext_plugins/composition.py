"""From the names in a configuration to the ordered layers of one service."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from .catalog import SPECS, Catalog, Source, arguments_of
from .chain import Hook, Layer
from .config import PREFIX
from .errors import ConfigError, FlextError, PluginError
from .hookspecs import Stage
from .service import PluginInfo, Service, Timeout
from .settings import (
    Basic,
    Place,
    Secret,
    ServiceName,
    leaves,
    nearest,
    origin_of,
    problem,
    problems_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .config import HostConfig, ServiceConfig


@dataclass(frozen=True)
class Composition:
    """One service with its plugin instances in their order."""

    service: Service
    layers: tuple[Layer, ...]
    origins: Mapping[Place, str] = field(default_factory=dict)
    edges: frozenset[str] = frozenset()
    """The services that its plugins may send to."""


def compose(
    name: str,
    config: HostConfig,
    catalog: Catalog,
    provided: Mapping[type, Any],
    shared: Callable[[type, Callable[[], Any]], Any],
) -> Composition:
    """Everything that `name` is made of, checked.

    Raises:
        FlextError: the problem, or a `ConfigError` with all of them.
    """
    settings = config.service(name)
    problems: list[FlextError] = []
    drafts: list[_Draft] = []
    for plugin, table, places in config.tables(name):
        try:
            drafts.append(_draft(plugin, table, places, config, catalog))
        except FlextError as error:
            error.service = error.service or name
            problems.append(error)
    drafts = _ordered(drafts, settings, name, problems)
    edges = {each.name: each.edges() for each in drafts}
    for plugin, targets in edges.items():
        for target in sorted(targets - config.services.keys()):
            what = f"no service is named {target!r}{nearest(target, config.services)}"
            problems.append(ConfigError(f"plugin {plugin!r}: {what}"))
    infos = tuple(PluginInfo(each.name, *each.source[1:]) for each in drafts)
    service = _service(name, settings, infos, provided, shared, problems)
    _secure(service, drafts, config, problems)
    _raise(problems, name)
    layers = tuple(each.layer(service) for each in drafts)
    return Composition(service, layers, config.origins, frozenset().union(*edges.values()))


def _raise(problems: list[FlextError], name: str) -> None:
    if len(problems) == 1:
        problems[0].service = problems[0].service or name
        raise problems[0]
    if problems:
        sentences = [text for each in problems for text in getattr(each, "problems", [str(each)])]
        lines = "".join(f"\n  - {each}" for each in sentences)
        error = ConfigError(f"{len(sentences)} problems:{lines}", sentences)
        error.service = name
        raise error


class _Draft(NamedTuple):
    """A plugin whose settings are valid, not yet made."""

    name: str
    source: Source
    settings: Any
    observer: bool
    origins: dict[Place, str]

    @property
    def stage(self) -> Stage:
        stage: Stage = getattr(self.source.kind, "stage", Stage.MESSAGE)
        return stage

    def edges(self) -> frozenset[str]:
        found = (value for _, value in leaves(self.settings) if isinstance(value, ServiceName))
        return frozenset(str(each) for each in found)

    def layer(self, service: Service) -> Layer:
        offered = {"settings": self.settings, "service": service}
        wanted = inspect.signature(self.source.kind).parameters
        try:
            plugin = self.source.kind(
                **{key: value for key, value in offered.items() if key in wanted}
            )
        except Exception as error:
            if isinstance(error, FlextError):
                failed: FlextError = error
            else:
                failed = PluginError(f"its constructor raised {type(error).__name__}")
            failed.service, failed.plugin = service.name, self.name
            failed.distribution = self.source.distribution
            raise failed from (None if failed is error else error)
        hooks = {}
        for name in SPECS:
            if function := getattr(plugin, name, None):
                arguments = tuple(each.name for each in arguments_of(self.source.kind, name))
                hooks[name] = Hook(function, arguments, inspect.iscoroutinefunction(function))
        return Layer(
            self.name,
            plugin,
            hooks,
            self.stage,
            self.observer,
            self.source.distribution,
            self.source.version,
            self.edges(),
            self.settings,
            self.origins,
        )


def _draft(
    name: str,
    table: dict[str, Any],
    places: dict[Place, Place],
    config: HostConfig,
    catalog: Catalog,
) -> _Draft:
    """The plugin that a table means, its settings validated."""
    use, observer = table.pop("use", None), table.pop("observer", None)
    where = places[()]
    origins = {key: origin_of(place, config.origins) for key, place in places.items()}
    shown = {(*where, *key): origin for key, origin in origins.items()}
    for key, value, kind in (("use", use, str), ("observer", observer, (bool, str))):
        if value is not None and not isinstance(value, kind):
            raise ConfigError(problem((*where, key), "expected another type", shown))
    if isinstance(observer, str):
        observer = observer.lower() in {"true", "1", "yes", "on"}
    source = catalog.source(name, use)
    if observer and getattr(source.kind, "fail_closed", False):
        raise ConfigError(problem((*where, "observer"), "this plugin has to fail closed", shown))
    model = getattr(source.kind, "Settings", None)
    found = [
        problem((*where, key), f"unknown key{nearest(key, _keys(model))}", shown)
        for key in table.keys() - _keys(model)
        if model is None or model.model_config.get("extra") != "allow"
    ]
    settings = None
    if model is not None and not found:
        try:
            settings = model.model_validate(table)
        except ValidationError as error:
            found = problems_of(error, model, table, where, shown)
        else:
            found = list(_secret_problems(settings, where, shown, config))
    if found:
        raise ConfigError(
            found[0] if len(found) == 1 else f"{len(found)} problems: " + "; ".join(found), found
        )
    is_observer = getattr(source.kind, "observer", False) if observer is None else observer
    return _Draft(name, source, settings, is_observer, origins)


def _keys(model: type[BaseModel] | None) -> set[str]:
    """Every key that a settings model takes."""
    fields = model.model_fields if model is not None else {}
    aliases = {each.alias for each in fields.values() if each.alias}
    return set(fields) | aliases


def _secret_problems(
    settings: Any, where: Place, origins: Mapping[Place, str], config: HostConfig
) -> Iterator[str]:
    for key, value in leaves(settings):
        if not isinstance(value, Secret):
            continue
        place = (*where, *key)
        if value.reference is not None:
            try:
                value.get_secret_value()
            except ConfigError as error:
                yield problem(place, str(error), origins)
        elif not config.allow_inline_secrets and _is_file(origin_of(place, origins)):
            yield problem(
                place,
                "a secret stands in the file; write env:NAME or file:/path "
                "(or say allow_inline_secrets = true)",
                origins,
            )


def _ordered(
    drafts: list[_Draft], settings: ServiceConfig, name: str, problems: list[FlextError]
) -> list[_Draft]:
    """By stage, then first appearance, unless the service says otherwise."""
    if settings.order is None:
        return sorted(drafts, key=lambda each: each.stage)
    names = [each.name for each in drafts]
    if sorted(names) != sorted(settings.order) and not problems:
        expected = ", ".join(names) or "none"
        problems.append(
            ConfigError(f"services.{name}.order: expected each of these once: {expected}")
        )
    place = {each: index for index, each in enumerate(settings.order)}
    return sorted(drafts, key=lambda each: place.get(each.name, 0))


def _service(
    name: str,
    settings: ServiceConfig,
    plugins: tuple[PluginInfo, ...],
    provided: Mapping[type, Any],
    shared: Callable[[type, Callable[[], Any]], Any],
    problems: list[FlextError],
) -> Service:
    base, headers = None, dict(settings.headers)
    try:
        if settings.base_url is not None:
            base, user, password = settings.base_url.split()
            if not base.lower().startswith(("http://", "https://")):
                raise ConfigError("base_url: expected http:// or https://")
            if user is not None and password is not None:
                headers.setdefault("Authorization", Basic(user, password))
        for header, value in headers.items():
            try:
                value.get_secret_value()
            except ConfigError as error:
                raise ConfigError(f"headers.{header}: {error}") from None
    except ConfigError as error:
        problems.append(ConfigError(f"services.{name}.{error}"))
    return Service(
        name,
        base,
        headers,
        Timeout(**settings.timeout.model_dump()),
        settings.deadline,
        settings.verify,
        settings.cert,
        settings.http2,
        settings.proxy,
        settings.max_connections,
        settings.allow_insecure,
        plugins,
        provided,
        shared,
    )


def _secure(
    service: Service, drafts: list[_Draft], config: HostConfig, problems: list[FlextError]
) -> None:
    """Refuse to send credentials over plain HTTP to another machine."""
    senders = [each for each in drafts if each.stage in {Stage.AUTH, Stage.SIGN}]
    holders = [
        each
        for each in senders
        if any(isinstance(value, Secret) for _, value in leaves(each.settings))
    ]
    what = [f"plugin {each.name!r}" for each in holders]
    what += [f"header {name!r}" for name, value in service.headers.items() if _is_secret(value)]
    if what and is_plain(service.base_url) and not service.allow_insecure:
        problems.append(
            ConfigError(
                f"services.{service.name}.base_url: {', '.join(what)} would send credentials over "
                "plain http://; use https://, or say allow_insecure = true"
            )
        )
    for each in holders:
        for target in each.edges() & config.services.keys():
            other = config.service(target)
            base = other.base_url.split()[0] if other.base_url else None
            if is_plain(base) and not other.allow_insecure:
                problems.append(
                    ConfigError(
                        f"services.{target}.base_url: plugin {each.name!r} of {service.name!r} "
                        "would send credentials over plain http://; use https://, or say "
                        "allow_insecure = true"
                    )
                )


def _is_secret(value: Secret) -> bool:
    return isinstance(value, Basic) or value.reference is not None


def is_plain(base_url: str | None) -> bool:
    """Whether requests to `base_url` could be read on a network."""
    if base_url is None or not base_url.lower().startswith("http://"):
        return False
    host = urlsplit(base_url).hostname or ""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _is_file(origin: str) -> bool:
    return bool(origin) and not origin.startswith(PREFIX)
