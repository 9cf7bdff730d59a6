"""Plugin classes: registered or found, imported when first named, held to the contract."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy
from packaging.utils import canonicalize_name
from pydantic import BaseModel

from flext_plugins import hookspecs
from flext_plugins._chain.layer import HookShape
from flext_plugins._config.validation import nearest
from flext_plugins._discovery import RESERVED, InstalledPlugin, find, installed, load
from flext_plugins._errors import PluginConflict, PluginError, account_of, package_of, place_of
from flext_plugins.hookspecs import GROUP, Stage
from flext_plugins.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    """The plugin classes of one host: registered in code, or imported when first named."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self._imported: dict[tuple[bool, str], PluginClass] = {}
        self._registered: dict[str, PluginClass] = {}

    @cached_property
    def _installed(self) -> list[InstalledPlugin]:
        return installed()

    def register(self, kind: type, name: str) -> None:
        """Add an application's own plugin.

        Raises:
            PluginConflict: the name is taken, or is one of ours.
            PluginError: the class breaks the contract.
        """
        normalised = canonicalize_name(name)
        if normalised in RESERVED:
            raise PluginConflict(f"the name {name!r} belongs to {RESERVED[normalised]}")
        if normalised in self._registered:
            raise PluginConflict(f"a plugin named {name!r} is registered already")
        self._check(kind, name, None)
        self._registered[normalised] = _described(kind)

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
        key = use is not None, use or name  # a name may look like a `use`, and is none
        if (known := self._imported.get(key)) is not None:
            return known
        record = find(self._installed, name, use, self._registered)
        self._imported[key] = loaded = self.load(record, use or name, masked)
        return loaded

    def load(
        self,
        record: InstalledPlugin,
        name: str | None = None,
        masked: Callable[[str], str] = redact,
    ) -> PluginClass:
        """Import the class of an installed plugin, and hold it to the contract.

        Args:
            record: which.
            name: the plugin's, as configured.
            masked: takes secrets out of the text of an error.

        Raises:
            PluginError: it cannot be imported, or breaks the contract.
        """
        try:
            kind = load(record)
        except (Exception, SystemExit) as error:
            place = place_of(error, [package_of(record.target.partition(":")[0])])
            what = f"importing {record.target} raised {account_of(error, place, masked)}"
            raise _at(PluginError(what), record) from error
        self._check(kind, name or record.name, record)
        return _described(kind, record.distribution, record.version)

    def _check(self, kind: Any, name: str, record: InstalledPlugin | None) -> None:
        """Hold `kind` to the contract, and list it in pluggy's manager."""
        if problems := list(_contract(kind)):
            raise _at(PluginError("; ".join(problems)), record, name)
        if self.manager.is_registered(kind):  # under another name: once is enough to list it
            return
        try:
            self.manager.register(kind, name)
        except (pluggy.PluginValidationError, ValueError) as error:
            raise _at(PluginError(f"pluggy does not take it: {error}"), record, name) from error


def _at(error: PluginError, record: InstalledPlugin | None, name: str | None = None) -> PluginError:
    if record is None:
        return error.add_context(plugin=name)
    return error.add_context(plugin=name or record.name, distribution=record.distribution)


def _contract(kind: Any) -> Iterator[str]:
    """Yield the ways in which a plugin class breaks the contract."""
    if not isinstance(kind, type):
        yield f"expected a class, found {type(kind).__name__}"
        return
    settings = getattr(kind, "Settings", None) or BaseModel
    if not (isinstance(settings, type) and issubclass(settings, BaseModel)):
        yield "Settings is not a pydantic model"
    else:
        for name in settings.model_fields.keys() & {"use", "observer"}:
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
