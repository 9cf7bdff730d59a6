"""A timeline of what each plugin did during a request, and of the events besides."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from time import perf_counter
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from flext_plugins import events
from flext_plugins._call import Call, restore
from flext_plugins._chain.layer import Hook, HookShape, Layer
from flext_plugins._connections.channels import Channels
from flext_plugins._errors import Refused
from flext_plugins._host import Host
from flext_plugins._runtime import Runtime
from flext_plugins.hookspecs import Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from flext_plugins._composition import Composition
    from flext_plugins._config.models import HostConfig
    from flext_plugins._connections.channel import Channel
    from flext_plugins.cli._spans import Spans

current: ContextVar[Step | None] = ContextVar("flext_plugins.cli.timeline", default=None)
"""What is running."""


@dataclass(eq=False)
class Step:
    """One run of a plugin's hook or of the wire, or an event; times are in seconds."""

    service: str
    who: str
    hook: str
    at: float
    depth: int
    total: float | None = None
    inside: float = 0.0
    """How much of `total` is other steps', or spent in `send`."""
    text: str = ""
    marks: dict[str, None] = field(default_factory=dict)
    """Names of headers that were added (`+`), changed (`~`) or taken off (`-`)."""
    sent: int = 0
    sent_result: Any = None
    sent_error: BaseException | None = None
    result: Any = None
    error: BaseException | None = None

    @property
    def own(self) -> float | None:
        """The seconds of `total` that are its own; `None` of an event."""
        return None if self.total is None else self.total - self.inside

    def mark(self, before: dict[str, str], after: dict[str, str]) -> None:
        """Note which headers differ."""
        for name in before | after:
            if before.get(name) != after.get(name):
                sign = "-" if name not in after else "~" if name in before else "+"
                self.marks[sign + name] = None

    @property
    def outcome(self) -> str:
        """A few words on what the hook did."""
        words = [self.text] if self.text else []
        words += [f"marked {' '.join(self.marks)}"] if self.marks else []
        words += [f"sent {self.sent} times"] if self.sent > 1 else []
        status = getattr(self.result, "status_code", None)
        if self.error is not None:
            own = "refused" if isinstance(self.error, Refused) else "raised"
            how = "passed on" if self.error is self.sent_error else own
            words.append(f"{how} {type(self.error).__name__}")
        elif status is not None and self.result is not self.sent_result:
            replaced = self.sent or self.hook == "flext_response"
            words.append(f"{'replaced by' if replaced else 'answered'} {status}")
        return ", ".join(words) or "passed"


class Timeline:
    """The steps of one request and of what it caused, in order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._started = perf_counter()

    def _begun(self, service: str, who: str, hook: str) -> Step:
        outer = current.get()
        depth = 0 if outer is None else outer.depth + 1
        self.steps.append(Step(service, who, hook, perf_counter() - self._started, depth))
        return self.steps[-1]

    @contextmanager
    def step(self, service: str, who: str, hook: str) -> Iterator[Step]:
        """Time what happens in the block."""
        outer, step = current.get(), self._begun(service, who, hook)
        token, started = current.set(step), perf_counter()
        try:
            yield step
        except BaseException as error:
            step.error = error
            raise
        finally:
            restore(current, token)
            step.total = perf_counter() - started
            if outer is not None:
                outer.inside += step.total

    @contextmanager
    def sending(self, step: Step) -> Iterator[None]:
        """None of what happens in the block is `step`'s own, whoever else counts it."""
        step.sent += 1
        token, started = current.set(replace(step)), perf_counter()
        try:
            yield
        except BaseException as error:
            step.sent_error = error
            raise
        finally:
            restore(current, token)
            step.inside += perf_counter() - started

    def note(self, service: str, event: object) -> None:
        """Note an event; of one that a plugin made only the name, for it may hold anything."""
        step = self._begun(service, type(event).__name__, "flext_event")
        step.text = "emitted"
        if type(event).__module__ == events.__name__:
            values = {each.name: getattr(event, each.name) for each in fields(event)}  # type: ignore[arg-type]
            step.text = "  ".join(
                f"{name}={_text_of(value)}"
                for name, value in values.items()
                if value not in (None, "") and not isinstance(value, Call)
            )


class RecordingHost(Host):
    """A host with a timeline of what its plugins do.

    Attributes:
        spans: hears of all that plugins lend, for a provider of OpenTelemetry's may be among it.
    """

    def __init__(self, config: HostConfig) -> None:
        super().__init__(config)
        self.timeline = Timeline()
        self.spans: Spans | None = None
        self._runtime = _RecordingRuntime(self, config, self._catalog, self._provided)

    def import_plugins(self, service: str) -> None:
        """Import what surrounds `service`, before a connection is opened."""
        self._runtime.composed(service)


class _RecordingRuntime(Runtime):
    """Watches every hook and the wire, and lets the host's spans hear what plugins lend."""

    def __init__(self, host: RecordingHost, *shared: Any) -> None:
        super().__init__(*shared)
        self._timeline = host.timeline
        self._watched: dict[str, Composition] = {}
        self.channels = _RecordingChannels(self, host)

    def composed(self, name: str) -> Composition:
        """The service with every hook watched, and the wire as if it were one."""
        if name not in self._watched:
            plain = super().composed(name)
            layers = [_watched(each, name, self._timeline) for each in plain.layers]
            layers.append(_Wire(name, self._timeline).layer)
            self._watched[name] = replace(plain, layers=tuple(layers))
        return self._watched[name]


class _RecordingChannels(Channels):
    def __init__(self, runtime: Runtime, host: RecordingHost) -> None:
        super().__init__(runtime)
        self._host = host

    async def get(self, service: str, *, asynchronous: bool) -> Channel:
        """The open channel, what it lends made known."""
        channel = await super().get(service, asynchronous=asynchronous)
        if self._host.spans is not None:
            for each in channel.resources:
                self._host.spans.hear(each.value)
        return channel


class _Wire:
    """Stands innermost, where only the network takes time, and hears all events."""

    def __init__(self, service: str, timeline: Timeline) -> None:
        self._service, self._timeline = service, timeline
        hooks = {
            name: Hook(function, HookShape(name, arguments, asynchronous=name != "flext_event"))
            for name, function, arguments in (
                ("flext_exchange", self._through, ("request", "send")),
                ("flext_operation", self._through, ("operation", "proceed")),
                ("flext_event", self._event, ("event",)),
            )
        }
        self.layer = Layer("wire", self, hooks, Stage.SIGN)

    async def _through(self, message: Any, inward: Callable[[Any], Awaitable[Any]]) -> Any:
        with self._timeline.step(self._service, "wire", "") as step:
            result = await inward(message)
            step.text = str(getattr(result, "status_code", "done"))
        return result

    def _event(self, event: object) -> None:
        self._timeline.note(self._service, event)


def _watched(layer: Layer, service: str, timeline: Timeline) -> Layer:
    """`layer` with its hooks watched; the plugin is the same, and so is what it does."""
    hooks = dict(layer.hooks)
    for name in hooks.keys() - {"flext_event"}:
        watch = _Watch(hooks[name], name, layer.name, service, timeline)
        function: Any = watch.awaited if hooks[name].shape.asynchronous else watch.plain
        if name in {"flext_exchange", "flext_operation"}:
            function = watch.around
        # The chain tells who awaited what by the plugin in the hook's frame: a method of it.
        hooks[name] = hooks[name]._replace(function=MethodType(function, layer.plugin))
    return replace(layer, hooks=hooks)


class _Watch(NamedTuple):
    """A hook of a plugin, and where to note what it does."""

    hook: Hook
    name: str
    plugin: str
    service: str
    timeline: Timeline

    def plain(self, _plugin: object, *given: Any) -> Any:
        with self._step(given) as step:
            step.result = self.hook.function(*given)
        return step.result

    async def awaited(self, _plugin: object, *given: Any) -> Any:
        with self._step(given) as step:
            step.result = await self.hook.function(*given)
        return step.result

    async def around(self, _plugin: object, *given: Any) -> Any:
        send = self._argument(given, "send") or self._argument(given, "proceed")
        before = _headers(self._argument(given, "request"))

        async def sending(message: Any) -> Any:
            step.mark(before, _headers(message))
            with self.timeline.sending(step):
                step.sent_result = await send(message)
            return step.sent_result

        with self.timeline.step(self.service, self.plugin, self.name) as step:
            arguments = [sending if each is send else each for each in given]
            step.result = await self.hook.function(*arguments)
        return step.result

    @contextmanager
    def _step(self, given: tuple[Any, ...]) -> Iterator[Step]:
        """Time a small hook, and see what it does to the headers of its message."""
        message = self._argument(given, self.name.removeprefix("flext_"))
        before = _headers(message)
        with self.timeline.step(self.service, self.plugin, self.name) as step:
            yield step
        step.mark(before, _headers(message))

    def _argument(self, given: tuple[Any, ...], name: str) -> Any:
        arguments = self.hook.shape.arguments
        return given[arguments.index(name)] if name in arguments else None


def _headers(message: Any) -> dict[str, str]:
    return dict(message.headers.items()) if hasattr(message, "headers") else {}


def _text_of(value: Any) -> str:
    if isinstance(value, BaseException):
        return type(value).__name__
    return f"{value:.3f} s" if isinstance(value, float) else str(value)
