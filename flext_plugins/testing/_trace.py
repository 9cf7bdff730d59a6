"""Traces of what a plugin does in one world, to be compared with another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from flext_plugins.testing._rig import Rig, kind_of
from flext_plugins.testing._service import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flext_plugins.testing._record import Seen
    from flext_plugins.testing._subject import Step

Place: TypeAlias = tuple[str, ...]
Trace: TypeAlias = dict[Place, object]
TIMED = {"PoolChanged"}
"""Events that come when something was kept for too long, which the clock decides."""
MADE_ANEW = {"date", "host", "x-correlation-id"}
"""Headers that differ from run to run without any plugin."""


def plain(world: str, steps: Sequence[Step]) -> dict[str, dict[str, str]]:
    """The headers that the service receives at each step from a client without plugins."""
    found = {}
    with Rig(world) as rig:
        for step in steps:
            rig.step(step._replace(answer=Answer()))
            found[step.name] = rig.service.received[-1].headers
    return found


def traced(rig: Rig, steps: Sequence[Step], plain: Mapping[str, Mapping[str, str]]) -> Trace:
    """Yield the outcome of each step: for the caller, hooks, receivers of events, services."""
    trace: Trace = {}
    for step in steps:
        trace.update(_seen_in(rig, step, plain[step.name]))
    trace.update(_exercised(rig))
    for name, work in (("an operation", bool), ("an operation that fails", _unreachable)):
        came = rig.operate(work)
        trace[name, "its caller got"] = kind_of(came.error) if came.error else "a result"
    return trace


def _seen_in(rig: Rig, step: Step, plain: Mapping[str, str]) -> Iterator[tuple[Place, object]]:
    services = {"service": rig.service, "elsewhere": rig.elsewhere, **rig.others}
    before = {name: len(each.received) for name, each in services.items()}
    hooks, events = len(rig.record.seen), len(rig.events)
    came = rig.step(step)
    yield (step.name, "the caller got"), came.status or (came.error and kind_of(came.error))
    yield (step.name, "the caller got the body"), came.body
    for name, value in came.headers.items():
        if name not in MADE_ANEW:
            yield (step.name, "the caller got the header", name), value
    yield (step.name, "its hooks ran"), [_visible(each) for each in rig.record.seen[hooks:]]
    varying = TIMED.union(rig.subject.varying_events)
    yield (step.name, "events were"), [each for each in rig.events[events:] if each not in varying]
    for name, each in services.items():
        for number, received in enumerate(each.received[before[name] :], 1):
            place = step.name, f"{name} received, as number {number},"
            yield place, (received.method, received.path, received.body)
            for header, value in received.headers.items():
                if name == "service" and header not in MADE_ANEW and plain.get(header) != value:
                    yield (*place, "the header", header), value


def _exercised(rig: Rig) -> Iterator[tuple[Place, object]]:
    name, services = "its exercise", {"service": rig.service, **rig.others}
    before = {name: len(each.received) for name, each in services.items()}
    came = rig.exercise()
    yield (name, "it came to"), kind_of(came.error) if came.error else "an end"
    for other, each in services.items():
        received = sorted((it.method, it.path) for it in each.received[before[other] :])
        yield (name, f"{other} received"), received


def _visible(seen: Seen) -> tuple[Any, ...]:
    gave = seen.gave if isinstance(seen.gave, int | None) else type(seen.gave).__name__
    return seen.hook, seen.attempt, seen.status, kind_of(seen.raised) if seen.raised else gave


def _unreachable() -> None:
    raise ConnectionError


def difference(one: Trace, other: Trace, ignored: frozenset[Place] = frozenset()) -> str | None:
    """The first difference, in words; `None` if there is none."""
    absent = object()
    for place in [*one, *(each for each in other if each not in one)]:
        expected, found = one.get(place, absent), other.get(place, absent)
        if expected != found and place not in ignored:
            seen = "nothing" if found is absent else repr(found)
            wanted = "nothing" if expected is absent else repr(expected)
            return f"after {place[0]}, {' '.join(place[1:])}: {seen}, and not {wanted}"
    return None
