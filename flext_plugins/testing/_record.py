"""Records of what each hook of a plugin was handed and gave back."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from flext_plugins._call import scope
from flext_plugins._composition.catalog import SPECS, arguments_of
from flext_plugins._service import Operation, Status
from flext_plugins.hookspecs import Stage, hookimpl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from flext_plugins._connections.connection import Connection
    from flext_plugins._messages import Request, Response


class Witness:
    """Sees everything at the innermost place, and does nothing."""

    stage = Stage.SIGN
    observer = True

    @hookimpl
    def flext_connect(self, connection: Connection) -> None: ...

    @hookimpl
    def flext_disconnect(self, connection: Connection) -> None: ...

    @hookimpl
    async def flext_exchange(
        self, request: Request, send: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        return await send(request)

    @hookimpl
    async def flext_operation(
        self, operation: Operation, proceed: Callable[[Operation], Awaitable[object]]
    ) -> object:
        return await proceed(operation)

    @hookimpl
    def flext_event(self, event: object) -> None: ...

    @hookimpl
    def flext_status(self) -> Status:
        return Status()


@dataclass(frozen=True)
class Seen:
    """One run of a hook, as far as the hook names it as an argument; noted when it has ended."""

    plugin: str
    """The class's name."""
    hook: str
    attempt: int | None = None
    """Of the call that it belongs to; `None` outside of one."""
    method: str | None = None
    url: str | None = None
    headers: dict[str, str] | None = None
    """The request's, by lower-case name, as they were before the hook ran."""
    status: int | None = None
    """Of the response that `flext_response` was handed."""
    operation: Operation | None = None
    event: object = None
    gave: object = None
    """What it returned: the status if that is a response."""
    raised: BaseException | None = None


class Record:
    """The record of what hooks saw, in the order in which they ended.

    Attributes:
        seen: all of it.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def of(self, plugin: type = Witness) -> type:
        """A class like `plugin` whose hooks are noted here.

        Args:
            plugin: by default one that does nothing, at the innermost place.
        """
        hooks = {name: self._noted(plugin, name) for name in SPECS if hasattr(plugin, name)}
        return type(plugin.__name__, (plugin,), {"__module__": plugin.__module__, **hooks})

    def hooks(self, name: str) -> list[Seen]:
        """The runs of the hook of that name, such as `flext_exchange`."""
        return [each for each in self.seen if each.hook == name]

    def events(self, kind: type | None = None) -> list[Any]:
        """The events that were told, or those of one kind."""
        told = [each.event for each in self.hooks("flext_event")]
        return told if kind is None else [each for each in told if isinstance(each, kind)]

    def _noted(self, plugin: type, name: str) -> Callable[..., Any]:
        original: Any = getattr(plugin, name)
        arguments = arguments_of(plugin, name)
        names = [each.name for each in arguments]
        is_method = inspect.isfunction(inspect.getattr_static(plugin, name))

        def handed(plugin_: object, given: tuple[Any, ...]) -> tuple[Any, ...]:
            return (plugin_, *given) if is_method else given

        @wraps(original)
        def noted(plugin_: object, *given: Any) -> Any:
            with self._noting(plugin, name, dict(zip(names, given, strict=True))) as gave:
                gave.append(original(*handed(plugin_, given)))
            return gave[0]

        @wraps(original)
        async def anoted(plugin_: object, *given: Any) -> Any:
            with self._noting(plugin, name, dict(zip(names, given, strict=True))) as gave:
                gave.append(await original(*handed(plugin_, given)))
            return gave[0]

        made: Any = anoted if inspect.iscoroutinefunction(original) else noted
        first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        made.__signature__ = inspect.Signature([first, *arguments])
        return made  # type: ignore[no-any-return]

    @contextmanager
    def _noting(self, plugin: type, hook: str, named: dict[str, Any]) -> Iterator[list[Any]]:
        facts, gave = _facts(plugin, hook, named), list[Any]()
        try:
            yield gave
        except BaseException as error:
            self.seen.append(Seen(**facts, raised=error))
            raise
        self.seen.append(Seen(**facts, gave=getattr(gave[0], "status_code", gave[0])))


def _facts(plugin: type, hook: str, named: dict[str, Any]) -> dict[str, Any]:
    """The facts that are known before the hook runs."""
    current = scope.get()
    facts: dict[str, Any] = {"plugin": plugin.__name__, "hook": hook}
    facts["attempt"] = current.call.attempt if current else None
    if (request := named.get("request")) is not None:
        facts.update(method=request.method, url=str(request.url))
        facts["headers"] = {key.lower(): value for key, value in request.headers.items()}
    if (response := named.get("response")) is not None:
        facts["status"] = response.status_code
    return {**facts, "operation": named.get("operation"), "event": named.get("event")}
