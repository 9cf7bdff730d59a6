"""From the names in a configuration to the ordered layers of one service."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.utils import canonicalize_name
from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator

from flext_plugins._chain.layer import Hook, Layer
from flext_plugins._composition.catalog import HOST_KEYS
from flext_plugins._composition.order import Wish, arranged, wishes
from flext_plugins._config.provenance import Place, Where
from flext_plugins._config.secrets import Secret, ServiceName, ServiceURL, leaves
from flext_plugins._config.service_checks import (
    address_of,
    endpoint_problems,
    exposure,
    reference_problems,
)
from flext_plugins._config.validation import nearest, report, validated
from flext_plugins._errors import (
    ConfigError,
    FlextError,
    PluginError,
    account_of,
    packages_of,
    place_of,
)
from flext_plugins._masking import Mask
from flext_plugins._service import PluginInfo, Service, Timeout
from flext_plugins.hookspecs import Stage
from flext_plugins.redaction import is_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from flext_plugins._composition.catalog import Catalog, PluginClass
    from flext_plugins._config.models import HostConfig, ServiceConfig


@dataclass(frozen=True)
class Composition:
    """One service with its plugin instances in their order."""

    service: Service
    layers: tuple[Layer, ...]
    where: Where = field(default_factory=lambda: Where({}))
    edges: frozenset[str] = frozenset()
    """The services that its plugins may send to."""
    credentials: Mapping[str, str] = field(default_factory=dict)
    """The senders of credentials, by the service to which."""
    reasons: Callable[[], Mapping[str, str]] = dict
    """Says why each plugin stands where it does."""
    secrets: tuple[SecretStr, ...] = field(default=(), repr=False)
    """What is shown nowhere, of the service's settings and its plugins'."""


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
    unnamed = isinstance(name, ServiceURL) and name not in config.services
    settings = config.unnamed(name) if unnamed else config.service(name)
    where = config.where(name)
    tables = list(config.tables(name))
    drafts, problems = _drafts(tables, settings, config, catalog)
    if unnamed:  # only observers: nobody said that it may have what the others send
        drafts = [each for each in drafts if each.observer]
    credentials = _credentials(name, settings, drafts, config)
    neighbours = [] if settings.order else [*wishes(drafts)]
    order = arranged(drafts, neighbours, settings.order)
    told = [
        *_order_problems(settings, [plugin for plugin, *_ in tables], where),
        *_wish_problems(drafts, neighbours, order.circle, where),
        *endpoint_problems(settings, config.services.get(name), where),
        *_exposed(credentials, drafts, config),
    ]
    problems += [ConfigError(each) for each in told]
    if problems:
        raise _together(problems, name)
    drafts.sort(key=lambda each: order.names.index(each.name))
    plugins = tuple(each.info for each in drafts)
    service = service_of(name, settings, plugins, provided, shared, config)
    edges = frozenset().union(*(each.edges for each in drafts))
    secrets = tuple(_secrets(settings, service, drafts))
    return Composition(
        service,
        tuple(each.layer(service, Mask({}, name, secrets)) for each in drafts),
        where,
        edges,
        credentials,
        partial(_reasons, plugins, neighbours, settings.order, config),
        secrets,
    )


def _secrets(
    settings: ServiceConfig, service: Service, drafts: list[_Draft]
) -> Iterator[SecretStr]:
    yield from _of_addresses(settings)
    found = [*leaves(service.headers), *(each for draft in drafts for each in draft.values)]
    yield from (value for _, value in found if isinstance(value, SecretStr))


def _of_addresses(settings: ServiceConfig) -> Iterator[SecretStr]:
    for address in (settings.base_url, settings.proxy):
        if address and (pair := address.basic()) is not None:
            yield from (pair, *(each for each in address.split()[1:] if each is not None))


def _mask(settings: ServiceConfig, table: Mapping[str, Any]) -> Callable[[str], str]:
    """A function that masks what may be a secret before a plugin's settings have been validated."""

    def masked(text: str) -> str:
        texts = [each.written() for each in settings.headers.values()]
        texts += [value for _, value in leaves(table) if isinstance(value, str)]
        found: list[SecretStr] = [*map(Secret, texts)]
        with suppress(FlextError):  # told elsewhere, or a reference leads nowhere
            found += _of_addresses(settings)
        return Mask({}, "", found)(text)

    return masked


def _together(problems: list[FlextError], service: str) -> FlextError:
    """The only problem, or one error for all."""
    error = problems[0]
    if len(problems) > 1:
        error = report([s for each in problems for s in getattr(each, "problems", (str(each),))])
    return error.add_context(service=service)


class _Reserved(BaseModel):
    """The host's keys in a plugin's table, beside the plugin's own settings."""

    use: str | None = None
    observer: bool | None = None
    target: str | None = Field(default=None, alias="class")

    @field_validator("use")
    @classmethod
    def _two_parts(cls, value: str) -> str:
        distribution, _, name = value.partition(":")
        if not (distribution and name):
            raise ValueError('expected "distribution:name"')
        return value

    @field_validator("target")
    @classmethod
    def _module_and_class(cls, value: str) -> str:
        module, _, name = value.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
            raise ValueError('expected "module:Class"')
        return value


_NOTHING_SAID = _Reserved()


def _reserved(table: dict[str, Any], where: Where) -> _Reserved:
    """Take the host's keys out of `table`."""
    taken: dict[str, Any] = {key: table.pop(key) for key in HOST_KEYS if key in table}
    if not taken:
        return _NOTHING_SAID
    said, found = validated(_Reserved, taken, where)
    if found:
        raise report(found)
    reserved: _Reserved = said
    if reserved.use and reserved.target:
        raise report([where.problem(("class",), "stands beside use; take one of them away")])
    return reserved


class _NoSettings(BaseModel):
    """The settings of a plugin that names no `Settings`: none."""


class _Draft(NamedTuple):
    """A plugin whose settings are valid, not yet made."""

    name: str
    plugin_class: PluginClass
    settings: Any
    observer: bool
    target: str | None
    """`module:Class`, if the configuration names it."""
    where: Where
    values: tuple[tuple[Place, Any], ...]
    """The leaves of `settings`."""
    has_secrets: bool
    """Whether there are secrets among them."""
    urls: Mapping[Place, ServiceURL]
    """The addresses beside the configured services that it may send to."""
    edges: frozenset[str]
    """All services that it may send to."""
    aliases: frozenset[str]
    """The normalised names by which other plugins may mean it."""

    @property
    def before(self) -> Sequence[str]:
        names: Sequence[str] = getattr(self.plugin_class.kind, "before", ())
        return names

    @property
    def after(self) -> Sequence[str]:
        names: Sequence[str] = getattr(self.plugin_class.kind, "after", ())
        return names

    @property
    def stage(self) -> Stage:
        stage: Stage = getattr(self.plugin_class.kind, "stage", Stage.MESSAGE)
        return stage

    @property
    def sends_secrets(self) -> bool:
        """Whether it may put secrets into messages, as far as can be told."""
        if self.observer or not self.has_secrets:
            return False
        return any(
            hasattr(self.plugin_class.kind, name) for name in ("flext_request", "flext_exchange")
        )

    @property
    def identifies(self) -> bool:
        """Whether its headers may say who asks; if it does not tell, whether it has secrets."""
        told: bool | None = getattr(self.plugin_class.kind, "identifies", None)
        return self.sends_secrets if told is None else told

    @property
    def info(self) -> PluginInfo:
        distribution, version = self.plugin_class.distribution, self.plugin_class.version
        return PluginInfo(self.name, distribution, version, self.stage, self.identifies)

    def layer(self, service: Service, masked: Callable[[str], str]) -> Layer:
        plugin = self._instance(service, masked)
        hooks = {
            shape.name: Hook(getattr(plugin, shape.name), shape)
            for shape in self.plugin_class.hooks
        }
        return Layer(
            self.name,
            plugin,
            hooks,
            self.stage,
            self.observer,
            self.identifies,
            self.plugin_class.distribution,
            self.plugin_class.version,
            self.edges,
            self.settings,
            self.where.source,
            self.target,
        )

    def _instance(self, service: Service, masked: Callable[[str], str]) -> object:
        offered = {"settings": self.settings, "service": service}
        failed: FlextError
        try:
            return self.plugin_class.kind(**{key: offered[key] for key in self.plugin_class.takes})
        except FlextError as error:
            failed = error
        except (Exception, SystemExit) as error:
            place = place_of(error, packages_of(self.plugin_class.kind))
            if isinstance(error, ValidationError):  # which holds what it was given
                failed = PluginError(f"its constructor raised {type(error).__name__}{place}")
            else:
                account = account_of(error, place, masked)
                failed = PluginError(f"its constructor raised {account}")
                failed.__cause__ = error
        raise failed.add_context(
            service=service.name, plugin=self.name, distribution=self.plugin_class.distribution
        )


def _drafts(
    tables: Iterable[tuple[str, dict[str, Any], Where]],
    settings: ServiceConfig,
    config: HostConfig,
    catalog: Catalog,
) -> tuple[list[_Draft], list[FlextError]]:
    """The plugins that can be made, and what is wrong with the others."""
    drafts, problems = list[_Draft](), list[FlextError]()
    for table in tables:
        try:
            drafts.append(_draft(*table, config, catalog, _mask(settings, table[1])))
        except FlextError as error:
            problems.append(error)
    return drafts, problems


def _plugin_class(
    name: str, said: _Reserved, where: Where, catalog: Catalog, masked: Callable[[str], str]
) -> PluginClass:
    """The class that a table means; what is wrong with it is told with its place."""
    try:
        if said.target:
            return catalog.named_class(name, said.target, masked)
        return catalog.plugin_class(name, said.use, masked)
    except FlextError as error:
        error.args = (where.problem(("class",) if said.target else (), error.args[0]),)
        if isinstance(error, ConfigError):
            error.problems = error.args
        raise


def _draft(
    name: str,
    table: dict[str, Any],
    where: Where,
    config: HostConfig,
    catalog: Catalog,
    masked: Callable[[str], str],
) -> _Draft:
    """The plugin that a table means, its settings validated."""
    said = _reserved(table, where)
    plugin_class = _plugin_class(name, said, where, catalog, masked)
    model = getattr(plugin_class.kind, "Settings", None)
    settings, found = None, list[str]()
    if model or table:
        settings, found = validated(model or _NoSettings, table, where)
    if said.observer and getattr(plugin_class.kind, "fail_closed", False):
        found.append(where.problem(("observer",), "this plugin has to fail closed"))
    settings = settings if model else None
    values = tuple(leaves(settings)) if model else ()
    found += reference_problems(values, where, inline=config.allow_inline_secrets)
    for key, value in values:
        if isinstance(value, ServiceName) and value not in config.services:
            what = f"no service is named {str(value)!r}{nearest(value, config.services)}"
            found.append(where.problem(key, what))
    if found:
        raise report(found)
    observer = (
        getattr(plugin_class.kind, "observer", False) if said.observer is None else said.observer
    )
    named = {str(each) for _, each in values if isinstance(each, ServiceName)}
    urls = {key: value for key, value in values if isinstance(value, ServiceURL)}
    edges = frozenset(named | {url.origin for url in urls.values()})
    aliases = frozenset(map(canonicalize_name, (name, *(said.use or "").split(":")[1:])))
    return _Draft(
        *(name, plugin_class, settings, observer, said.target),
        *(where, values, any(isinstance(value, Secret) for _, value in values)),
        *(urls, edges, aliases),
    )


def _order_problems(settings: ServiceConfig, names: list[str], where: Where) -> Iterator[str]:
    if settings.order is not None and _normalised(names) != _normalised(settings.order):
        expected = ", ".join(names) or "none"
        yield where.problem(("order",), f"expected each of these once: {expected}")


def _normalised(names: Iterable[str]) -> list[str]:
    return sorted(map(canonicalize_name, names))


def _wish_problems(
    drafts: list[_Draft], neighbours: list[Wish], circle: list[str], where: Where
) -> Iterator[str]:
    """The wishes that the stages contradict, or each other."""
    stages = {each.name: each.stage for each in drafts}
    for wish in neighbours:
        outer, inner = stages[wish.outer], stages[wish.inner]
        if outer > inner:
            (by,) = [each for each in drafts if each.name == wish.by]
            what = f"it wants to stand {wish.text}, and stage {inner.name} is before {outer.name}"
            yield by.where.problem((), f"{what}; say order = [...]")
    if circle:
        names = " before ".join(map(repr, circle))
        yield where.problem(("plugins",), f"they want to stand {names}; say order = [...]")


def _reasons(
    plugins: tuple[PluginInfo, ...],
    neighbours: list[Wish],
    order: Sequence[str] | None,
    config: HostConfig,
) -> dict[str, str]:
    """Why each plugin stands where it does, in words."""
    if order:
        return {each.name: "order" for each in plugins}
    reasons = {}
    for each in plugins:
        beside = [
            other.name for other in plugins if other.stage == each.stage and other is not each
        ]
        words = ["stage"]
        for wish in neighbours:
            if wish.inner == each.name and wish.outer in beside:
                words.append(f"after {wish.outer}" + (", as it says" * (wish.by == wish.outer)))
            elif (wish.outer, wish.by) == (each.name, each.name) and wish.inner in beside:
                words.append(f"before {wish.inner}")
        if beside:
            is_global = each.name in config.plugins  # whose spelling is taken
            words.append("appearance for every service" if is_global else "appearance")
        reasons[each.name] = ", ".join(words)
    return reasons


def _credentials(
    name: str, settings: ServiceConfig, drafts: list[_Draft], config: HostConfig
) -> dict[str, str]:
    """The senders of credentials, by the service to which, as far as can be told."""
    who = [f"plugin {each.name!r}" for each in drafts if each.sends_secrets]
    for header, value in settings.headers.items():
        if value.reference or is_secret(header):
            who.append(f"header {header!r}")
    if address_of(settings)[1]:
        who.append("the user in it")
    credentials = {name: ", ".join(who)} if who else {}
    for each in drafts:
        if each.sends_secrets:
            urls = {str(url.origin) for url in each.urls.values()}
            for target in each.edges & (config.services.keys() | urls):
                credentials.setdefault(target, f"plugin {each.name!r} of {name!r}")
    return credentials


def _exposed(
    credentials: Mapping[str, str], drafts: list[_Draft], config: HostConfig
) -> Iterator[str]:
    """The services to which credentials would be sent so that others could read them."""
    for each in drafts:
        for key, url in each.urls.items() if each.sends_secrets else ():
            if found := exposure(config.unnamed(url.origin)):
                what = f"{found.remedy}, or a service that says {found.settings}"
                yield each.where.problem(key, f"it would send credentials {found.way}; {what}")
    for target, who in credentials.items():
        if target in config.services and (found := exposure(config.service(target))):
            what = f"{who} would send credentials {found.way}"
            remedy = f"{found.remedy}, or say {found.settings}"
            yield config.where(target).problem((found.key,), f"{what}; {remedy}")


def service_of(
    name: str,
    settings: ServiceConfig,
    plugins: tuple[PluginInfo, ...],
    provided: Mapping[type, Any],
    shared: Callable[[type, Callable[[], Any]], Any],
    config: HostConfig,
) -> Service:
    """The service that plugins see."""
    base, headers = None, dict[str, SecretStr](settings.headers)
    if settings.base_url is not None:
        base = settings.base_url.split()[0]
        if (pair := settings.base_url.basic()) is not None:
            headers.setdefault("Authorization", pair)
    own = config.services.get(name)
    alike = {"deadline", "verify", "cert", "http2", "proxy", "allow_insecure"}
    alike |= {"max_connections", "keepalive_expiry", "max_plugin_read", "transport", "health"}
    return Service(
        name,
        base,
        headers,
        Timeout(*(getattr(settings.timeout, phase) for phase in Timeout._fields)),
        **{each: getattr(settings, each) for each in alike},
        transport_is_default=own is None or "transport" not in own.model_fields_set,
        plugins=plugins,
        _provided=provided,
        _shared=shared,
    )
