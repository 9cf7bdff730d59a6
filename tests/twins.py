"""The same conversation by a composed client and by the library's own, and what both sides saw."""

from __future__ import annotations

import array
import copy
import inspect
import io
import mmap
import os
import re
import ssl
import tempfile
import threading
import warnings
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests.auth
from asks import AWAY, OWN, Ask, Conversation, Reply

from flext_plugins import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flext_plugins.testing import World

OURS = ("x-correlation-id",)
"""Headers that a composed client adds for its own origin, by lower-case name."""
RANDOM = re.compile(rb'(?<=boundary=)\w+|(?<=--)[0-9a-f]{32}|(?<=cnonce=")\w+|(?<=response=")\w+')


class Handler(BaseHTTPRequestHandler):
    """Notes requests to the letter, and gives the next reply."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.reply
        raise AttributeError(name)

    def body(self) -> list[bytes]:
        """The chunks as they were sent."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            data = self.rfile.read(length := int(self.headers.get("Content-Length") or 0))
            if len(data) < length:  # whether it arrives at all where a client gives up is chance
                raise ConnectionResetError
            return [data]
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return parts

    def reply(self) -> None:
        pair = self.server.pair
        head = [each for each in self.headers.items() if each[0].lower() not in OURS]
        seen = [self.server.name, self.raw_requestline, head, self.body()]
        pair.seen.append(masked(seen))
        reply: Reply = pair.replies.pop(0) if len(pair.replies) > 1 else pair.replies[0]
        if not reply.status:
            self.close_connection = True
            return
        lines = [f"HTTP/1.1 {reply.status} As told"]
        lines += [f"{name}: {pair.located(value)}" for name, value in reply.headers]
        length = len(reply.body) + reply.missing
        lines += [] if reply.status in {204, 304} else [f"Content-Length: {length}"]
        self.close_connection |= reply.missing > 0 or ("Connection", "close") in reply.headers
        lines += ["Connection: close"] if self.close_connection else []
        text = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.wfile.write(text + (b"" if self.command == "HEAD" else reply.body))

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Nothing."""


class Server(ThreadingHTTPServer):
    """One origin of a pair."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Clients hang up."""


class Pair:
    """Two origins that keep what arrives, in its order.

    Attributes:
        seen: for each request the origin's name, its first line, headers as sent, and body.
        replies: what to answer next.
    """

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.replies: list[Reply] = []
        self._servers = []
        for name in ("own", "away"):
            server: Any = Server(("127.0.0.1", 0), Handler)
            server.pair, server.name = self, name
            threading.Thread(target=server.serve_forever, args=(0.05,)).start()
            self._servers.append(server)
        self.own, self.away = (f"http://127.0.0.1:{each.server_port}" for each in self._servers)

    def located(self, address: str) -> str:
        """`address` with the origins' real names."""
        userinfo = self.own.replace("//", "//ana:p%40ss@")
        found = address.replace(OWN, self.own).replace(AWAY, self.away)
        found = found.replace("{port}", f"127.0.0.1:{self.own.rpartition(':')[2]}")
        return found.replace("{userinfo}", userinfo).encode().decode("latin-1")

    def close(self) -> None:
        for each in self._servers:
            each.shutdown()
            each.server_close()


def masked(seen: Any) -> Any:
    """`seen` without what is random: boundaries and a digest's nonces."""
    if isinstance(seen, (list, tuple)):
        return [masked(each) for each in seen]
    if isinstance(seen, bytes):
        return RANDOM.sub(b"random", seen)
    return RANDOM.sub(b"random", seen.encode()).decode() if isinstance(seen, str) else seen


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def generated() -> Any:
    yield from (b"one", b"", b"two")


async def agenerated() -> Any:
    for part in generated():
        yield part


class Readable:
    """A body that has `read` and `len` alone, as those of requests-toolbelt."""

    def __init__(self, data: bytes) -> None:
        self.file, self.len = io.BytesIO(data), len(data)

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


class Wrapper(Readable):
    """One that can go back, and has no `seekable`."""

    def seek(self, *place: int) -> int:
        return self.file.seek(*place)

    def tell(self) -> int:
        return self.file.tell()


def mapped() -> Any:
    with tempfile.TemporaryFile() as file:
        file.write(b"mapped")
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def opened(mode: str) -> Any:
    return Path(__file__).open(mode)


def left_off() -> Any:
    file = io.BytesIO(b"read before, rest")
    file.read(12)
    return file


def piped(data: bytes) -> Any:
    reading, writing = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as file:
            file.write(data)

    threading.Thread(target=write, daemon=True).start()
    return os.fdopen(reading, "rb")


def by_hand(request: Any) -> Any:
    """An `auth` of requests that replaces the body, as one may do before `send`."""
    request.body, request.headers["Content-Length"] = io.BytesIO(b"by hand"), "7"
    return request


STREAMS = {
    "bytearray": lambda: bytearray(b"abc"),
    "memoryview": lambda: memoryview(b"abc"),
    "array": lambda: array.array("B", b"abc"),
    "list": lambda: [b"one", b"two"],
    "readable": lambda: Readable(b"abc"),
    "wrapper": lambda: Wrapper(b"abc"),
    "mapped": mapped,
    "opened": lambda: opened("rb"),
    "opened as text": lambda: opened("r"),
    "text file": lambda: io.StringIO("text"),
    "left off": left_off,
    "pipe": lambda: piped(b"\0" * 100_000),
    "lines": lambda: piped(b"1,2\n" * 10_000),
    "strings": lambda: (each for each in ("one", "two")),
    "iterator": lambda: iter([b"one", b"two"]),
    "number": lambda: 5,
}
"""Bodies that are no bytes, and mostly can be sent once."""
PIPES = ("pipe", "lines")
FILES = {
    "parts of a pipe": lambda: piped(b"abc"),
    "parts of a reader": lambda: Readable(b"abc"),
    "parts of a wrapper": lambda: Wrapper(b"abc"),
    "mapped parts": mapped,
}


class Twin:
    """One side in one world: the composed client, or the plain one."""

    def __init__(self, world: World, pair: Pair, *, plain: bool) -> None:
        self.world, self.pair, self.plain = world, pair, plain
        self.requests = world.name == "requests"

    def auth(self, kind: str) -> Any:
        """An `auth=` of the library's own."""
        lib = requests.auth if self.requests else self.world.lib

        def call(request: Any) -> Any:
            request.headers["X-Auth"] = "called"
            return request

        digest = lib.HTTPDigestAuth if self.requests else lib.DigestAuth
        made = {"basic": ("ana", "p:é"), "bytes": (b"ana", b"pw"), "callable": call}
        return digest("ana", "pw") if kind == "digest" else made.get(kind)

    def body(self, kind: str) -> dict[str, Any]:
        """The options that carry a body."""
        form = {"a": "b c", "l": ["1", "2"], "é": "ü"}
        whole = {"bytes": b"\x00\xff", "text": "text é", "empty": b"", "file": io.BytesIO(b"file")}
        if kind in STREAMS:
            whole[kind] = STREAMS[kind]()
        if kind in FILES:
            return {"files": {"f": ("name", FILES[kind]())}}
        if kind == "by hand":
            return {"auth": by_hand} if self.requests else {"content": b"by hand"}
        if kind == "stream":
            whole[kind] = agenerated() if self.world.asynchronous else generated()
        if kind in whole:
            return {"data" if self.requests else "content": whole[kind]}
        files = {"f": ("é.txt", io.BytesIO(b"part"), "text/plain"), "g": b"bytes"}
        made = {"json": {"json": {"é": [1, None]}}, "form": {"data": form}}
        made["parts"] = {"data": {"a": "1"}, "files": files}
        return made.get(kind, {})

    async def client(self, host: Host, talk: Conversation) -> Any:
        """The client with the conversation's options."""
        client = await settled(self.made(host, talk))
        return copy.copy(client) if talk.copied else client

    def made(self, host: Host, talk: Conversation) -> Any:
        lib = self.world.lib
        options = {"headers": talk.headers, "cookies": talk.cookies, "params": talk.params}
        options = {name: value for name, value in options.items() if value is not None}
        if talk.auth != "none":
            options["auth"] = self.auth(talk.auth)
        if self.requests and self.plain:
            session = lib.Client()
            session.max_redirects = 5
            for name, value in options.items():
                if name in {"auth", "params"}:
                    setattr(session, name, value)
                else:
                    getattr(session, name).update(value)
            return session
        options["max_redirects"] = 5
        if not self.plain:
            connect = self.world.aconnect if self.world.asynchronous else self.world.connect
            return connect(host, **options)
        kind = lib.AsyncClient if self.world.asynchronous else lib.Client
        return kind(base_url=self.pair.own + talk.path, verify=CONTEXT, **options)

    async def ask(self, client: Any, ask: Ask, talk: Conversation) -> Any:
        """What the caller sees of one request."""
        url = self.pair.located(ask.url).encode("latin-1").decode()
        options = self.body(ask.body)
        carried = [*options.values(), *(part[1] for part in options.get("files", {}).values())]
        chosen = {"params": ask.params, "headers": ask.headers, "cookies": ask.cookies}
        options |= {name: value for name, value in chosen.items() if value is not None}
        if ask.auth != "none":
            options["auth"] = self.auth(ask.auth)
        if self.requests:
            if self.plain and "://" not in url.partition("?")[0]:
                url = f"{(self.pair.own + talk.path).rstrip('/')}/{url.lstrip('/')}"
            options |= {"allow_redirects": ask.follow, "stream": ask.streamed}
        try:
            if ask.body in PIPES and not self.requests:  # they would announce that nothing comes
                options["content"] = iter(partial(options["content"].read, 16_384), b"")
            if ask.streamed and not self.requests:
                response = await self.stream(client, ask, url, options)
            else:
                if not self.requests:
                    options["follow_redirects"] = ask.follow
                response = await settled(client.request(ask.method, url, **options))
            _ = response.content
        except Exception as error:
            return failure(error)
        finally:
            for each in carried:
                if isinstance(each, io.IOBase):
                    each.close()
        return told(response)

    async def stream(self, client: Any, ask: Ask, url: str, options: dict[str, Any]) -> Any:
        """httpx's response, read by the caller."""
        auth = {"auth": options.pop("auth")} if "auth" in options else {}
        request = client.build_request(ask.method, url, **options)
        sent = client.send(request, stream=True, follow_redirects=ask.follow, **auth)
        response = await settled(sent)
        await settled((response.aread if self.world.asynchronous else response.read)())
        return response

    async def talk(self, talk: Conversation) -> Any:
        """What both sides saw."""
        self.pair.seen = seen = []
        config = {"services": {"service": {"base_url": self.pair.own + talk.path}}}
        host, views = Host(config), []
        try:
            try:
                client = await self.client(host, talk)
            except Exception as error:
                return failure(error)
            for ask in talk.asks:
                self.pair.replies = list(ask.replies)
                views.append(await self.ask(client, ask, talk))
                views.append(sorted(map(cookie, getattr(client.cookies, "jar", client.cookies))))
            await settled((client.aclose if self.world.asynchronous else client.close)())
        finally:
            await settled((host.aclose if self.world.asynchronous else host.close)())
        return masked([*views, *seen])


def cookie(each: Any) -> Any:
    return each.name, each.value, each.domain, each.path, each.secure, bool(each.expires)


def failure(error: Exception) -> Any:
    """An error as its caller sees it."""
    request = getattr(error, "_request", None) or getattr(error, "request", None)
    sent = request and (request.method, str(request.url), pairs(request.headers))
    return ["raised", f"{type(error).__module__}.{type(error).__name__}", str(error), sent]


def pairs(headers: Any) -> Any:
    return getattr(headers, "raw", None) or list(headers.items())


def told(response: Any) -> Any:
    """A response as its caller sees it."""
    request = response.request
    facts = [response.status_code, pairs(response.headers), str(response.url)]
    facts += [response.encoding, response.is_redirect, response.links]
    try:
        facts += [response.content, response.text]
    except Exception as error:
        facts += failure(error)
    facts += [getattr(response, "reason_phrase", None) or response.reason]
    facts += [sorted(map(cookie, getattr(response.cookies, "jar", response.cookies)))]
    facts += [
        request.method,
        str(request.url),
        pairs(request.headers),
        response.elapsed is not None,
    ]
    if hasattr(response, "raw"):
        facts += [response.raw.version, response.raw.status, list(response.raw.headers.items())]
    else:
        facts += [response.http_version, response.is_closed, response.num_bytes_downloaded]
    following = getattr(response, "next_request", None) or getattr(response, "next", None)
    facts += [following and (following.method, str(following.url), pairs(following.headers))]
    return [*facts, *[told(each) for each in response.history]]


@contextmanager
def environment(talk: Conversation, pair: Pair) -> Iterator[None]:
    """The process's variables, with no other proxies than the conversation's."""
    before = dict(os.environ)
    for name in before:
        if name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update({name: pair.located(value) for name, value in talk.environment})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def twins(talk: Conversation, world: World, pair: Pair) -> tuple[Any, Any]:
    """What the composed and the plain client saw."""
    with environment(talk, pair), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # httpx: cookies of a single request
        warnings.simplefilter("ignore", ResourceWarning)  # neither client closes a file
        warnings.simplefilter("ignore", requests.exceptions.FileModeWarning)
        made = (Twin(world, pair, plain=each) for each in (False, True))
        composed, plain = (world.run(lambda twin=twin: twin.talk(talk)) for twin in made)
    return composed, plain


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used; one of its own costs each plain client 30 ms."""
