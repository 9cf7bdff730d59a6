"""The rule about two services of one host that have the same plugin."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from flext_plugins._config.secrets import Secret, ServiceName, leaves
from flext_plugins._errors import FlextError
from flext_plugins.testing._conformance.rules import Rules, in_each_world
from flext_plugins.testing._rig import OF_ANOTHER, Rig, kind_of, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from flext_plugins.testing._service import Answer, Received

RULE = "two services with one plugin do not mix"
NAMES = "service", "another"
LATER = 0.02
"""Seconds that services which are asked take, so that both callers wait for them at once."""


class Neighbours(Rules):
    """Two services of one host.

    Its rule comes first, while nothing is kept yet that outlives a host.
    """

    @in_each_world
    def test_two_services_of_one_host_do_not_mix(self, world: str) -> None:
        """Each has its own: settings, services to ask, answers."""
        if seen := self._mixture(world):
            self._breaks(RULE, world, seen)

    def _mixture(self, world: str) -> str:
        """A sign that two services mix; empty if there is none."""
        of_another = self._of_another(world)
        with self._rig(world, of_another) as rig:
            for name, service in rig.served.items():
                service.answer = _marked(rig.subject.answer, name)
            for name, answer in self.services.items():
                for suffix in ("", OF_ANOTHER):
                    rig.others[name + suffix].answer = _later(answer)
            senders = [rig.world.sender(rig.host, "GET", "/same", service=name) for name in NAMES]
            at_once = partial(rig.world.all, senders)
            rounds = [self._watched(rig, RULE, "callers of both services", at_once)]
            rounds += [rig.world.all([each]) for each in senders * 2]
            for name, came in zip(NAMES * 3, chain(*rounds), strict=True):
                if seen := _foreign_answer(name, came):
                    return seen
            return self._foreign_setting(rig, of_another) or _uneven(rig, rounds[0])

    def _of_another(self, world: str) -> Mapping[str, Any]:
        """The settings of the second service, with services and secrets of its own."""
        settings = self.settings if self.settings_of_another is None else self.settings_of_another
        model = getattr(self.plugin, "Settings", None)
        if model is None:
            return settings
        renamed = _changed(model, settings, self.services, secrets=False)
        with_secrets = _changed(model, settings, self.services, secrets=True)
        if with_secrets != renamed:
            try:
                Rig(world, self._subject, with_secrets).end()
            except FlextError:  # no other text can be this secret
                return renamed
        return with_secrets

    def _foreign_setting(self, rig: Rig, of_another: Mapping[str, Any]) -> str:
        """A setting of one service that the other, or one that it asks, has received."""
        mine, others = ([*_texts(each)] for each in (self.settings, of_another))
        for text in others:
            if any(text in each for each in mine):
                continue
            for name in (NAMES[0], *self.services):
                service = rig.others.get(name, rig.service)
                for each in service.received:
                    if text in f"{each.path} {each.headers} {each.body!r}":
                        return f"{name!r} received {text!r}, a setting of the other service alone"
        return ""


def _texts(settings: Mapping[str, Any]) -> Iterator[str]:
    return (text for _, text in leaves(settings) if isinstance(text, str) and len(text) > 2)


def _changed(
    model: Any, settings: Mapping[str, Any], services: Collection[str], *, secrets: bool
) -> dict[str, Any]:
    """`settings` that name services of their own, and have other `secrets` if they are to."""
    changed: dict[str, Any] = deepcopy(dict(settings))
    for place, value in leaves(model.model_validate(dict(settings))):
        if isinstance(value, ServiceName) and value in services:
            _put(changed, place, value + OF_ANOTHER)
        elif secrets and isinstance(value, Secret) and not value.reference:
            _put(changed, place, value.get_secret_value().swapcase())
    return changed


def _put(inside: Any, place: tuple[str, ...], value: str) -> None:
    """Put `value` at its place, if there is such a place as it was written."""
    *way, last = place
    for key in way:
        inside = inside.get(key) if isinstance(inside, dict) else None
    if isinstance(inside, dict):
        inside[last] = value


def _foreign_answer(name: str, came: Any) -> str:
    """A sign that this caller of the service `name` got what is another's."""
    if isinstance(came, BaseException):
        return ""
    of = outcome(came).headers.get("x-of", name)
    return "" if of == name else f"who asked {name!r} got the answer of {of!r}"


def _uneven(rig: Rig, came: list[Any]) -> str:
    """A sign that one of the two did not ask for itself, although both came out alike."""
    kinds = {kind_of(e) if isinstance(e, BaseException) else e.status_code for e in came}
    for name in rig.subject.services if len(kinds) == 1 else ():
        first, second = (len(rig.others[name + suffix].received) for suffix in ("", OF_ANOTHER))
        if first != second:
            return (
                f"of two services with equal settings, each of which names its own {name!r}, one "
                f"sent {min(first, second)} requests there and the other {max(first, second)}"
            )
    return ""


def _marked(answer: Callable[[Received], Answer], name: str) -> Callable[[Received], Answer]:
    """`answer`, with the name of its service, and to be kept if it says nothing of that."""
    kept = {"Cache-Control": "max-age=60", "ETag": f'"{name}"'}

    def marked(received: Received) -> Answer:
        said = answer(received)
        return replace(said, headers={**kept, **said.headers, "X-Of": name})

    return marked


def _later(answer: Callable[[Received], Answer]) -> Callable[[Received], Answer]:
    return lambda received: replace(answer(received), delay=LATER)
