"""Requests that an application may make, odd ones too, and what may come of them."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

OWN, AWAY = "{own}", "{away}"
"""In an address: the service's origin, and another."""


@dataclass(frozen=True)
class Reply:
    """What the server answers, to the letter; `status` 0 hangs up instead."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"ok"
    missing: int = 0
    """So many bytes more are announced; then it hangs up."""


@dataclass(frozen=True)
class Ask:
    """One request, by the names of httpx."""

    method: str
    url: str
    replies: tuple[Reply, ...]
    """In this order; the last for all that follow."""
    body: str = "none"
    params: Any = None
    headers: Any = None
    cookies: Any = None
    auth: str = "none"
    follow: bool = True
    streamed: bool = False


@dataclass(frozen=True)
class Conversation:
    """A client with these options, and what it is asked to send."""

    asks: tuple[Ask, ...]
    path: str = ""
    """Of the service's address."""
    headers: Any = None
    cookies: Any = None
    params: Any = None
    auth: str = "none"
    environment: tuple[tuple[str, str], ...] = ()
    """Variables while it goes on; it has no others that name proxies."""
    copied: bool = False
    """Whether it is a copy of the client that sends."""


def sometimes(odd: list[Any], rest: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One time in twenty one of `odd`."""
    chosen = st.sampled_from(range(20))  # integers() would prefer the ends
    return chosen.flatmap(lambda n: st.sampled_from(odd) if n == 13 else rest)


SEGMENTS = ("a", "b.c", "%2F", "%7e", "é", "..", ".", "", "a b", "%", "[x]", "c:d", "@", "+*;p=1")
INVALID = ["http://", "http:///x", "ftp://127.0.0.1/x", "http://127.0.0.1:99999/", "http://[::1/"]
INVALID += ["://x", "http://a b/", "\x00", "http://127.0.0.1:port/", "mailto:ana@example.org"]
STARTS = ("/", "/", "", "//", f"{OWN}/", f"{AWAY}/", "{userinfo}/")
QUERIES = ("", "", "?", "?q", "?q=1&q=2", "?q=%20+é", "?a=b?c://d", "?x=[1]&y=%zz")
paths = st.lists(st.sampled_from(SEGMENTS), max_size=4).map("/".join)
addresses = st.tuples(
    st.sampled_from(STARTS), paths, st.sampled_from(QUERIES), st.sampled_from(("", "", "#f"))
).map("".join)
urls = sometimes(INVALID, addresses)

locations = st.one_of(
    addresses,
    st.sampled_from(["/next", f"{AWAY}/there", "next?x=1", "../up", "", "?only=query", "#only"]),
)
locations = locations.filter(lambda text: not text.startswith("//"))  # names to be looked up
locations = sometimes(["http://127.0.0.1:port/", "ftp://127.0.0.1/"], locations)
headers = st.sampled_from(
    [
        None,
        None,
        {"X-One": "1", "x-TWO": "2"},
        {"Accept": "text/plain", "user-agent": "mine", "Accept-Encoding": "identity"},
        {"X-Bytes": b"caf\xe9"},
        {"X-Empty": "", "Connection": "close"},
        {"Host": "other.example", "Authorization": "Bearer mine", "Cookie": "raw=1"},
        {"Content-Type": "text/x-mine", "Referer": "http://e.example/"},
        [("X-Many", "1"), ("x-many", "2"), ("X-Many", "1")],
    ]
)
unsendable = [{"X-Broken": "line\nbreak"}, {"": "nameless"}, {"X-Blank": " leading"}, {"X": "é"}]
headers = sometimes(unsendable, headers)
params = st.sampled_from(
    [
        None,
        None,
        None,
        {},
        {"a": "b"},
        {"l": ["1", "2"], "none": None},
        {"é": "ö &=+%20", "empty": ""},
        [("a", "1"), ("a", "2")],
        "raw=1&x=%20",
        {"n": 1, "f": 1.5, "t": True},
    ]
)
cookies = st.sampled_from([None, None, {"mine": "1"}, {"a": "b c", "d": '"'}, {"set": "own"}])
cookies = sometimes([{"d": "é"}], cookies)
auths = st.sampled_from(["none"] * 5 + ["basic", "digest", "bytes", "callable"])
SET = ("Set-Cookie", "set=1; Path=/"), ("Set-Cookie", "deep=2; Path=/next; HttpOnly")
extras = st.sampled_from([(), (), SET, (("Set-Cookie", "set=; Max-Age=0; Path=/"),)])


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """A redirect, a challenge or an answer."""
    kind = draw(st.sampled_from(["redirect", "redirect", "answer", "answer", "challenge", "gone"]))
    more = draw(extras)
    if kind == "redirect":
        status = draw(st.sampled_from([301, 302, 303, 307, 308]))
        coding, body, missing = draw(st.sampled_from(MOVED))
        return Reply(status, (("Location", draw(locations)), *coding, *more), body, missing)
    if kind == "challenge":
        told = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'
        return Reply(401, (("WWW-Authenticate", told), *more), b"who?")
    return draw(st.sampled_from(ANSWERS)) if kind == "answer" else Reply(0)


ANSWERS = [
    Reply(),
    Reply(201, (("Content-Type", "application/json"), ("X-Two", "1"), ("X-Two", "2")), b'{"a": 1}'),
    Reply(200, (("Content-Type", "text/plain; charset=iso-8859-1"),), b"caf\xe9"),
    Reply(200, (("Content-Type", "text/html"),), "é".encode()),
    Reply(200, (("Content-Encoding", "gzip"),), gzip.compress(b"packed", mtime=0)),
    Reply(200, (("Content-Encoding", "gzip"),), b"not packed"),
    Reply(204, (), b""),
    Reply(304, (("ETag", '"1"'),), b""),
    Reply(418, (("Link", '</next>; rel="next"'), ("X-Raw", "caf\xe9")), b"tea"),
    Reply(500, (), b"x" * 50_000),
    Reply(200, (("Connection", "close"),), b"last"),
    Reply(302, (), b"no location"),
]
GZIP = (("Content-Encoding", "gzip"),)
MOVED = [((), b"moved", 0)] * 5 + [((), b"mov", 2), (GZIP, b"not packed", 0), (GZIP, b"no", 5)]
"""Bodies of redirects: whole, cut off, or not what they say."""
BODIES = ["none", "none", "bytes", "text", "json", "form", "parts", "file", "stream", "empty"]
BUFFERS = ["bytearray", "memoryview", "array"]
ONCE = [
    "file",
    "stream",
    "list",
    "readable",
    "wrapper",
    "text file",
    "mapped",
    "pipe",
    "lines",
    "strings",
]
ONCE += ["iterator", "opened", "opened as text", "by hand", "parts of a pipe", "parts of a reader"]
ONCE += ["parts of a wrapper", "mapped parts", "left off"]
"""Those that are empty when they are sent again, in some library."""
NONE = ["number"]
"""What is no body, and none is sent."""
BODIES += [*BUFFERS, *ONCE, *NONE]
PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY")
EXCEPTIONS = ["127.0.0.1", "127.0.0.0/8", "127.0.0.1/32", "127.*", "127.0.0", "0.0.1", ".1", "::1"]
EXCEPTIONS += ["", "*", "localhost", ".localhost", "example.com, 127.0.0.1", "{port}", OWN]
EXCEPTIONS += ["http://127.0.0.1", "https://127.0.0.1", "all://127.0.0.1", "[127.0.0.1]"]
"""Values of `no_proxy` that every library can read, each in its own way."""
environments = st.one_of(
    st.just(()),
    st.tuples(
        st.tuples(st.sampled_from(PROXIES), st.sampled_from([AWAY, AWAY.replace("http://", "")])),
        st.tuples(st.sampled_from(["NO_PROXY", "no_proxy"]), st.sampled_from(EXCEPTIONS)),
    ),
)
METHODS = [
    "GET",
    "GET",
    "POST",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "QUERY",
    "get",
]

made = st.builds(
    Ask,
    st.sampled_from(METHODS),
    urls,
    st.lists(replies(), min_size=1, max_size=4).map(tuple),
    st.sampled_from(BODIES),
    params,
    headers,
    cookies,
    auths,
    st.booleans(),
    st.booleans(),
)


def sound(ask: Ask) -> Ask:
    """`ask`, but for bodies that are empty where they are sent again.

    The plain libraries may send nothing then, where a composed client raises `StreamConsumed`.
    """
    again = ask.follow or ask.auth == "digest"
    return replace(ask, body="bytes") if again and ask.body in ONCE else ask


conversations = st.builds(
    Conversation,
    st.lists(made.map(sound), min_size=1, max_size=2).map(tuple),
    st.sampled_from(["", "", "/", "/api", "/api/", "/a%20b"]),
    headers,
    cookies,
    params,
    auths.filter(lambda kind: kind != "digest"),
    environments,
    st.booleans(),
)
