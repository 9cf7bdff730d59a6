"""The plugin under test, what its author says of it, and the steps that it is taken through."""

from __future__ import annotations

from itertools import cycle
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from flext_plugins.testing._service import Answer, echo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from flext_plugins._host import Host
    from flext_plugins.testing._service import Received
    from flext_plugins.testing._trial import Trial


class Step(NamedTuple):
    """One request, and what the service makes of it."""

    name: str
    answer: Answer | Callable[[Received], Answer] | None = None
    """`None` refuses the connection."""
    method: str = "GET"
    body: str = ""
    """`bytes`, `stream`, or empty for none."""
    path: str = "/step?a=b"

    @property
    def fails(self) -> bool:
        """Whether no answer comes."""
        if not isinstance(self.answer, Answer):
            return self.answer is None
        return self.answer.reset or self.answer.raw is not None


STEPS = (
    Step("an answer", Answer(headers={"X-Of": "service"})),
    Step("an answer to a body", Answer(201), "POST", "bytes"),
    Step("an answer to a stream", Answer(202), "POST", "stream"),
    Step("no such thing", Answer(404)),
    Step("credentials rejected", Answer(401)),
    Step("an error of the service", Answer(500)),
    Step("an overloaded service", Answer(503, {"Retry-After": "0"})),
    Step("a connection reset", Answer(reset=True)),
    Step("a body that breaks", Answer(body=b"0123456789", cut=4)),
    Step("an answer that is not HTTP", Answer(raw=b"SSH-2.0-other\r\n")),
    Step("a refused connection"),
)


ADDRESSES = tuple(
    Step(f"the address {path!r}", Answer(), path=path)
    for path in ("/a%2Fb;c=d", "//a/../b c?d e=?&f=%20#g", "/ä?ö", "/no-query")
)
"""Addresses that plugins have been seen to stumble over; each library sends them alike."""


class Subject(NamedTuple):
    """A plugin, and what its author says of it; without one, nothing is between both sides."""

    plugin: type | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    services: Mapping[str, Callable[[Received], Answer]] = MappingProxyType({})
    answers: Sequence[Answer] | Callable[[Received], Answer] = ()
    prepare: Callable[[Host], None] | None = None
    exercise: Callable[[Trial], Awaitable[None]] | None = None
    varying_events: Collection[str] = ()
    """The names of events that come when the clock has it so."""

    @property
    def answer(self) -> Callable[[Received], Answer]:
        """A function that answers for the service, from its first answer on, if a rule does not."""
        if callable(self.answers):
            return self.answers
        if not self.answers:
            return echo
        turns = cycle(self.answers)
        return lambda received: next(turns)  # noqa: ARG005

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps for every plugin, then each of the author's answers twice: one may be kept."""
        answers: Sequence[Any] = [self.answers] if callable(self.answers) else self.answers
        return STEPS + tuple(
            Step(f"answer {number} of its own{again}", answer, path=f"/answers/{number}")
            for number, answer in enumerate(answers, 1)
            for again in ("", ", again")
        )
