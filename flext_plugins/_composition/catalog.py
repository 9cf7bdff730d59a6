"""Plugin classes: registered or found, imported when first named, held to the contract."""

from __future__ import annotations

import inspect
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy
from packaging.utils import canonicalize_name
from pydantic import BaseModel

from flext_plugins import hookspecs
from flext_plugins._chain.layer import HookShape
from flext_plugins._config.provenance import Where
from flext_plugins._config.validation import nearest
from flext_plugins._discovery import RESERVED, InstalledPlugin, find, installed_under, load
from flext_plugins._errors import (
    ConfigError,
    PluginConflict,
    PluginError,
    account_of,
    package_of,
    place_of,
)
from flext_plugins.hookspecs import GROUP, Stage
from flext_plugins.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flext_plugins._config.models import HostConfig

SPECS: dict[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(getattr(hookspecs, name)).parameters)
    for name in hookspecs.__all__
    if name.startswith("flext_")
}
ASYNC = {
    "flext_exchange": True,
    "flext_operation": True,
    "flext_event": False,
    "flext_status": False,
}
"""Hooks that have to be `async def`, or must not be; the others may be either."""
HOST_KEYS = ("use", "observer", "class")
"""The keys of a plugin's table that are the host's."""


class PluginClass(NamedTuple):
    """A plugin class, what is called of it, and where it came from."""

    kind: type
    distribution: str | None
    version: str | None
    hooks: tuple[HookShape, ...]
    takes: tuple[str, ...]
    """What its constructor asks for."""


def _described(
    kind: type, distribution: str | None = None, version: str | None = None
) -> PluginClass:
    hooks = tuple(
        HookShape(
            name,
            tuple(each.name for each in arguments_of(kind, name)),
            inspect.iscoroutinefunction(getattr(kind, name)),
        )
        for name in SPECS
        if getattr(kind, name, None)
    )
    wanted = inspect.signature(kind).parameters
    takes = tuple(name for name in ("settings", "service") if name in wanted)
    return PluginClass(kind, distribution, version, hooks, takes)


class Catalog:
    """The plugin classes of one host: registered in code, or imported when first named.

    Args:
        config: says which may be imported.
    """

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self._imported: dict[tuple[str, str], PluginClass] = {}
        self._registered: dict[str, PluginClass] = {}
        self._named: set[str] = set()

    @cached_property
    def installed(self) -> list[InstalledPlugin]:
        """The installed plugins; those that `[host]` does not let in are denied."""
        return installed_under(self._refusal)

    def _refusal(self, distribution: str, module: str) -> str:
        """Say why `[host]` does not let a module be imported; nothing if it does."""
        host, where = self._config.host, Where(self._config.sources, ("host",))
        for pattern in host.deny:
            if _matches(pattern, distribution, module):
                return f"denied: {pattern!r} stands in host.deny ({where.source(('deny',))})"
        if host.allow is None or any(_matches(each, distribution, module) for each in host.allow):
            return ""
        names = f"{distribution} or {module}" if distribution else module
        return f"denied: nothing in host.allow ({where.source(('allow',))}) stands for {names}"

    def register(self, kind: type, name: str) -> None:
        """Add an application's own plugin.

        Raises:
            PluginConflict: the name is taken, or is one of ours.
            PluginError: the class breaks the contract.
        """
        normalised = self._free(name)
        if normalised in self._named:
            raise PluginConflict(f"the configuration names a class for {name!r} already")
        self._check(kind, name, None, name)
        self._registered[normalised] = _described(kind)

    def _free(self, name: str) -> str:
        """The normalised `name`, which is neither ours nor registered."""
        normalised = canonicalize_name(name)
        if normalised in RESERVED:
            raise PluginConflict(f"the name {name!r} belongs to {RESERVED[normalised]}")
        if normalised in self._registered:
            raise PluginConflict(f"a plugin named {name!r} is registered already")
        return normalised

    def plugin_class(self, name: str, use: str | None, masked: Callable[[str], str]) -> PluginClass:
        """The class that a configuration means by `name`.

        Args:
            name: the plugin's, as configured.
            use: the distribution and name to take instead, if the configuration says so.
            masked: takes the configuration's secrets out of the text of an error.

        Raises:
            ConfigError: nobody offers it, several do, or it does not fit.
            PluginError: it cannot be imported, or breaks the contract.
        """
        if use is None and (registered := self._registered.get(canonicalize_name(name))):
            return registered
        key = "use" if use else "name", use or name  # a name may look like a `use`, and is none
        if (known := self._imported.get(key)) is not None:
            return known
        record = find(self.installed, name, use, self._registered)
        self._imported[key] = loaded = self.load(record, use or name, masked)
        return loaded

    def named_class(self, name: str, target: str, masked: Callable[[str], str]) -> PluginClass:
        """The class of an application's own that a configuration names.

        Args:
            name: the plugin's, as configured.
            target: `module:Class`.
            masked: takes the configuration's secrets out of the text of an error.

        Raises:
            ConfigError: it is denied.
            PluginConflict: the plugin's name is registered, or is one of ours.
            PluginError: it cannot be imported, or breaks the contract.
        """
        normalised = self._free(name)
        if (known := self._imported.get(("class", target))) is None:
            if why := self._refusal("", target.partition(":")[0]):
                raise ConfigError(why)
            # Listed by what it is: another service may name another class for the same plugin.
            known = self.load(InstalledPlugin(name, "", "", target), name, masked, target)
            self._imported["class", target] = known
        self._named.add(normalised)
        return known

    def load(
        self,
        record: InstalledPlugin,
        name: str | None = None,
        masked: Callable[[str], str] = redact,
        listed: str | None = None,
    ) -> PluginClass:
        """Import the class of a plugin, and hold it to the contract.

        Args:
            record: which.
            name: the plugin's, as configured.
            masked: takes secrets out of the text of an error.
            listed: its name in pluggy's manager, if another.

        Raises:
            PluginError: it cannot be imported, or breaks the contract.
        """
        try:
            kind = load(record)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            place = place_of(error, [package_of(record.target.partition(":")[0])])
            what = f"importing {record.target} raised {account_of(error, place, masked)}"
            raise _at(PluginError(what), record) from error
        name = name or record.name
        self._check(kind, name, record, listed or name)
        return _described(kind, record.distribution or None, record.version or None)

    def _check(self, kind: Any, name: str, record: InstalledPlugin | None, listed: str) -> None:
        """Hold `kind` to the contract, and list it in pluggy's manager."""
        try:
            problems = list(_contract(kind))
        except (Exception, SystemExit) as error:  # of its metaclass, or a descriptor
            what = f"looking at {getattr(record, 'target', name)} raised {type(error).__name__}"
            raise _at(PluginError(what), record, name) from error
        if problems:
            raise _at(PluginError("; ".join(problems)), record, name)
        if self.manager.is_registered(kind):  # under another name: once is enough to list it
            return
        try:
            self.manager.register(kind, listed)
        except Exception as error:
            raise _at(PluginError(f"pluggy does not take it: {error}"), record, name) from error


def _at(error: PluginError, record: InstalledPlugin | None, name: str | None = None) -> PluginError:
    if record is None:
        return error.add_context(plugin=name)
    return error.add_context(plugin=name or record.name, distribution=record.distribution or None)


def _matches(pattern: str, distribution: str, module: str) -> bool:
    """Whether a pattern is for this distribution, this module or a package that it is in."""
    packages = accumulate(module.split("."), "{}.{}".format)
    names = {distribution.lower(), canonicalize_name(distribution)} - {""}
    spelt = pattern.lower().replace("_", "-")
    return any(fnmatchcase(each, pattern) for each in packages) or any(
        fnmatchcase(each, spelt) for each in names
    )


def _contract(kind: Any) -> Iterator[str]:
    """Yield the ways in which a plugin class breaks the contract."""
    if not isinstance(kind, type):
        yield f"expected a class, found {type(kind).__name__}"
        return
    settings = getattr(kind, "Settings", None) or BaseModel
    if not (isinstance(settings, type) and issubclass(settings, BaseModel)):
        yield "Settings is not a pydantic model"
    else:
        keys = {each.alias or name for name, each in settings.model_fields.items()}
        for name in HOST_KEYS:
            if name in {*settings.model_fields, *keys}:
                yield f"Settings has {name!r}, which is the host's"
    if not isinstance(getattr(kind, "stage", Stage.MESSAGE), Stage):
        yield "stage is not a Stage"
    for name in ("before", "after"):
        names = getattr(kind, name, ())
        if not (isinstance(names, (tuple, list)) and all(isinstance(each, str) for each in names)):
            yield f"{name} is not a tuple of plugins' names"
    for name in ("observer", "fail_closed", "identifies"):
        if not isinstance(getattr(kind, name, False), bool):
            yield f"{name} is not a bool"
    if getattr(kind, "observer", False) and getattr(kind, "fail_closed", False):
        yield "it cannot be an observer and fail closed"
    for argument in inspect.signature(kind).parameters.values():
        if argument.name not in {"settings", "service"} and argument.default is argument.empty:
            yield f"its constructor asks for {argument.name!r}; it can have settings and service"
    names = [name for name in dir(kind) if name.startswith("flext_")]
    for name in names:
        yield from _hook_problems(kind, name)
    if not names:
        yield "it has no hook"
    if "flext_exchange" in names and {"flext_request", "flext_response"} & set(names):
        yield "it has flext_exchange and the small hooks; choose"


def _hook_problems(kind: type, name: str) -> Iterator[str]:
    function = inspect.getattr_static(kind, name)
    options = getattr(getattr(function, "__func__", function), f"{GROUP}_impl", None)
    if name not in SPECS:
        yield f"{name} is no hook{nearest(name, SPECS)}"
        return
    if options is None:
        yield f"{name} is not marked with @hookimpl"
        return
    if refused := [key for key, value in options.items() if value]:
        yield f"{name}: @hookimpl takes no {', '.join(refused)}; order is the configuration's"
    bound = getattr(kind, name)
    if inspect.isasyncgenfunction(bound) or inspect.isgeneratorfunction(bound):
        yield f"{name} is a generator"
    elif name in ASYNC and inspect.iscoroutinefunction(bound) is not ASYNC[name]:
        yield f"{name} must{'' if ASYNC[name] else ' not'} be async def"
    for argument in arguments_of(kind, name):
        if argument.name not in SPECS[name]:
            yield f"{name} has no argument {argument.name!r}{nearest(argument.name, SPECS[name])}"
        elif argument.kind in {argument.VAR_POSITIONAL, argument.VAR_KEYWORD}:
            yield f"{name} takes *{argument.name}; name the arguments"
        elif argument.kind is argument.KEYWORD_ONLY:
            yield f"{name} takes {argument.name!r} by keyword only"


def arguments_of(kind: type, name: str) -> list[inspect.Parameter]:
    """The arguments that a plugin's hook names."""
    found = list(inspect.signature(getattr(kind, name)).parameters.values())
    is_method = inspect.isfunction(inspect.getattr_static(kind, name))
    return found[1:] if is_method else found
