"""Scripts of what can happen to one service connection, as hypothesis makes them up."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from flext_plugins import Stage
from flext_plugins.testing import Answer

AWAY = "away"
"""In a `Location`: the other origin."""


@dataclass(frozen=True)
class Part:
    """A plugin that does what each step says, and notes what it sees."""

    form: str
    """`plain` or `awaiting` small hooks, or `around` the exchange."""
    stage: Stage
    observer: bool = False
    deaf: bool = False
    """Whether its `flext_event` raises."""


@dataclass(frozen=True)
class Act:
    """What one plugin does during one step: inward, at its `send`, and outward."""

    before: str = ""
    around: str = ""
    after: str = ""


@dataclass(frozen=True)
class Step:
    """One request by the application, and what becomes of it."""

    acts: tuple[Act, ...]
    answers: tuple[Answer, ...]
    """The service's answers, in this order; the last for all that follow."""
    method: str = "GET"
    body: str = "none"
    """`none`, `bytes`, a `stream` that can be sent once, or one that is `broken`."""
    reading: str = "whole"
    """`whole` by the client, `streamed` to the application, or `closed` unread."""
    follow: bool = False
    service: str = "listens"
    """`listens`, `refuses` connections, or answers `late`: after the client's time-out."""
    cancelled: bool = False
    """Whether the task is cancelled once the service has the request."""


@dataclass(frozen=True)
class Script:
    """Plugins, outermost first within a stage, and what happens with them."""

    parts: tuple[Part, ...]
    steps: tuple[Step, ...]


def rarely(*values: str) -> st.SearchStrategy[str]:
    """One of `values`, and half of the time nothing."""
    return st.sampled_from(("",) * len(values) + values)


BEFORE = (
    "mark",
    "garble",
    "answer",
    "raise",
    "refuse",
    "late",
    "interrupt",
    "emit",
    "read",
    "perform",
    "ask",
)
AROUND = ("again", "retry", "swallow", "convert")
AFTER = ("mark", "status", "replace", "raise", "refuse", "interrupt", "watch", "trip", "read")

acts = st.builds(Act, rarely(*BEFORE), rarely(*AROUND), rarely(*AFTER))
parts = st.builds(
    Part,
    st.sampled_from(["plain", "awaiting", "around"]),
    st.sampled_from([Stage.CALL, Stage.AUTH, Stage.GUARD, Stage.MESSAGE]),
    st.sampled_from([False, False, True]),
    st.sampled_from([False, False, False, True]),
)
PACKED = gzip.compress(b"packed " * 100, mtime=0)
answers = st.sampled_from(
    [
        Answer(200, {"X-Script-Answer": "1"}, b"ok"),
        Answer(200, {}, b""),
        Answer(200, {}, b"x" * 100_000),
        Answer(200, {"Content-Encoding": "gzip"}, PACKED),
        Answer(204, {}, b""),
        Answer(404, {"X-Script-Answer": "2"}, b"nothing"),
        Answer(503, {}, b"later"),
        Answer(302, {"Location": "/found"}, b"there"),
        Answer(303, {"Location": AWAY}, b"elsewhere"),
        Answer(reset=True),
        Answer(raw=b""),
        Answer(raw=b"SSH-2.0-other\r\n"),
        Answer(body=b"0123456789", cut=0),
        Answer(body=b"0123456789", cut=4),
        Answer(body=b"x" * 100_000, cut=70_000),
    ]
)


@st.composite
def steps(draw: st.DrawFn, places: int, *, cancelled: bool) -> Step:
    """A step for so many plugins."""
    method, body = draw(
        st.sampled_from(
            [
                *(("GET", "none"), ("HEAD", "none"), ("DELETE", "none"), ("POST", "none")),
                *(("POST", "bytes"), ("PUT", "stream"), ("POST", "stream"), ("POST", "broken")),
            ]
        )
    )
    step = Step(
        draw(st.tuples(*[acts] * places)),
        tuple(draw(st.lists(answers, min_size=1, max_size=3))),
        method,
        body,
        draw(st.sampled_from(["whole", "streamed", "closed"])),
        draw(st.booleans()),
        draw(st.sampled_from(["listens"] * 14 + ["refuses", "refuses", "late"])),
        draw(st.booleans()) if cancelled else False,
    )
    if not step.follow and any("Location" in each.headers for each in step.answers):
        # requests reads a redirect's body also where it is to stream and not to follow
        step = replace(step, reading="whole")
    # httpx looks at headers once it is connected, requests before
    garbled = any(each.before == "garble" for each in step.acts)
    return replace(step, service="listens") if step.cancelled or garbled else step


@st.composite
def scripts(draw: st.DrawFn, *, cancelled: bool = False) -> Script:
    """A script; only one with cancellations has any."""
    made = tuple(draw(st.lists(parts, min_size=1, max_size=3)))
    step = steps(len(made), cancelled=cancelled)
    return Script(made, tuple(draw(st.lists(step, min_size=1, max_size=3))))
