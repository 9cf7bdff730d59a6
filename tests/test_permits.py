"""Permits come back, whatever is or is not done to a response."""

import asyncio
import contextlib
import copy
import gc
import inspect
import json
import os
import pickle
import random
import threading

import pytest

from flext_plugins import options
from flext_plugins.testing import Answer

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
"""The collector takes a session's socket before the response that would close it, in a cycle."""

PERMITS = 3
CHUNKED = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED += b"6\r\nhello\n\r\n" * 40
ANSWERS = {
    "/large": Answer(body=b"line\n" * 40_000),
    "/none": Answer(204, body=b""),
    "/same": Answer(304, body=b""),
    "/moved": Answer(302, {"Location": "/large"}, body=b"x" * 50_000),
    "/loop": Answer(302, {"Location": "/loop"}, body=b"x" * 50_000),
    "/wrong": Answer(500, body=b"x" * 50_000),
    "/cut": Answer(body=b"x" * 50_000, cut=100),
    "/chunked": Answer(raw=CHUNKED + b"0\r\n\r\n"),
    "/chunks-cut": Answer(raw=CHUNKED),
    "/no-gzip": Answer(headers={"Content-Encoding": "gzip"}, body=b"x" * 50_000),
}


def answer(received):
    return ANSWERS.get(received.path, Answer(body=b'{"a": 1}\n', delay=received.path == "/slow"))


@pytest.fixture(autouse=True)
def _quick_collector():
    """What is there before a test cannot be its garbage: the collector need not look at it."""
    gc.freeze()
    yield
    gc.unfreeze()


class Enough(BaseException):
    """As a time-out of gevent or a signal handler of the program raises."""


class Hands:
    """What an application does with a response, by one name in every library."""

    def __init__(self, world, host):
        self.world, self.host, self.lib = world, host, world.lib
        self.is_requests = world.name == "requests"

    async def __aenter__(self):
        make = self.world.aconnect if self.world.asynchronous else self.world.connect
        client = make(self.host)
        self.client = await client if inspect.isawaitable(client) else client
        return self

    async def __aexit__(self, *_):
        await settled((self.client.aclose if self.world.asynchronous else self.client.close)())

    async def open(self, path="/large", method="GET", *, follow=False):
        """A response whose body is unread."""
        if self.is_requests:
            return self.client.request(method, path, stream=True, allow_redirects=follow)
        request = self.client.build_request(method, path)
        return await settled(self.client.send(request, stream=True, follow_redirects=follow))

    async def get(self, path):
        """A response whose body the library reads."""
        return await settled(self.client.get(path))

    async def read(self, response):
        if self.is_requests:
            return response.content
        return await (response.aread() if self.world.asynchronous else settled(response.read()))

    async def close(self, response):
        await settled((response.aclose if self.world.asynchronous else response.close)())

    def chunks(self, response, kind="bytes"):
        """An iterator over the body, sync or async."""
        if self.is_requests:
            names = {"bytes": "iter_content", "lines": "iter_lines", "raw": "iter_content"}
            return getattr(response, names[kind])(*([1000] if kind != "lines" else []))
        sort = "aiter" if self.world.asynchronous else "iter"
        return getattr(response, f"{sort}_{kind}")(*([1000] if kind != "lines" else []))

    async def part(self, response, kind="bytes", then=None):
        """Iterate as far as the third chunk."""
        chunks = self.chunks(response, kind)
        for _ in range(3):
            await settled(anext(chunks) if hasattr(chunks, "__anext__") else next(chunks))
        if then is not None:
            raise then
        return chunks


async def settled(result):
    return await result if inspect.isawaitable(result) else result


WAYS = {}


def way(function):
    """A member of the table of what may become of a response."""
    WAYS[function.__name__.replace("_", " ")] = function
    return function


@way
async def dropped_unread(hands):
    await hands.open()


@way
async def dropped_as_part_of_a_cycle(hands):
    response = await hands.open()
    response.itself = response
    del response
    gc.collect()


@way
async def dropped_in_another_thread(hands):
    kept = [await hands.open()]
    thread = threading.Thread(target=kept.clear)
    thread.start()
    thread.join()


@way
async def dropped_half_read(hands):
    await hands.part(await hands.open())


@way
async def iterated_and_left(hands):
    chunks = await hands.part(await hands.open(), "lines")
    del chunks


@way
async def raw_bytes_half_read(hands):
    await hands.part(await hands.open(), "raw")


@way
async def chunked_half_read(hands):
    response = await hands.open("/chunked")
    chunks = hands.chunks(response)
    await settled(anext(chunks) if hasattr(chunks, "__anext__") else next(chunks))


@way
async def half_read_and_closed(hands):
    response = await hands.open()
    await hands.part(response)
    await hands.close(response)


@way
async def closed_unread(hands):
    await hands.close(await hands.open())


@way
async def closed_twice(hands):
    response = await hands.open()
    await hands.close(response)
    await hands.close(response)


@way
async def closed_in_two_threads(hands):
    if hands.world.asynchronous:
        await closed_twice(hands)
        return
    response = await hands.open()
    threads = [threading.Thread(target=response.close) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


@way
async def read(hands):
    assert await hands.read(await hands.open()) == ANSWERS["/large"].body


@way
async def read_twice(hands):
    response = await hands.open()
    assert await hands.read(response) == await hands.read(response)


@way
async def read_by_the_library(hands):
    assert len((await hands.get("/large")).content) == 200_000


@way
async def read_and_kept(hands):
    response = await hands.open()
    await hands.read(response)
    hands.host.kept = response


@way
async def error_in_mid_body(hands):
    with pytest.raises(KeyError):
        await hands.part(await hands.open(), then=KeyError("mine"))


@way
async def base_exception_in_mid_body(hands):
    with pytest.raises(Enough):
        await hands.part(await hands.open(), then=Enough())


@way
async def keyboard_interrupt_in_mid_chunks(hands):
    with pytest.raises(KeyboardInterrupt):
        await hands.part(await hands.open("/chunked"), "lines", then=KeyboardInterrupt())


@way
async def thrown_into_the_iterator(hands):
    chunks = hands.chunks(await hands.open("/chunked"))
    await settled(anext(chunks) if hasattr(chunks, "__anext__") else next(chunks))
    with pytest.raises(Enough):
        await settled((chunks.athrow if hasattr(chunks, "athrow") else chunks.throw)(Enough()))


@way
async def head_unread(hands):
    await hands.open(method="HEAD")


@way
async def no_content_unread(hands):
    await hands.open("/none")


@way
async def not_modified_unread(hands):
    await hands.open("/same")


@way
async def redirect_unread(hands):
    await hands.open("/moved")


@way
async def redirect_followed_and_dropped(hands):
    await hands.open("/moved", follow=True)


@way
async def redirected_for_ever(hands):
    with pytest.raises(Exception, match=r"Exceeded|redirects"):
        await hands.open("/loop", follow=True)


@way
async def refused_by_its_status(hands):
    response = await hands.open("/wrong")
    with pytest.raises(Exception, match="500"):
        response.raise_for_status()


@way
async def refused_by_a_hook(hands):
    def sync_hook(response, **_):
        response.raise_for_status()

    async def hook(response):
        response.raise_for_status()

    if hands.is_requests:
        hands.client.hooks["response"] = [sync_hook]
    else:
        chosen = hook if hands.world.asynchronous else sync_hook
        hands.client.event_hooks["response"] = [chosen]
    with pytest.raises(Exception, match="500"):
        await hands.open("/wrong")


@way
async def replaced_by_a_hook(hands):
    if not hands.is_requests:
        await dropped_unread(hands)
        return

    def other(response, **_):
        made = hands.lib.Response()
        made.status_code, made.url, made._content = 200, response.url, b""
        return made

    hands.client.hooks["response"] = [other]
    await hands.open()


@way
async def copied_and_dropped(hands):
    if hands.is_requests:
        copy.copy(await hands.open("/small"))
        return
    response = await hands.open("/small")
    copy.copy(response)
    del response


@way
async def pickled(hands):
    response = await hands.open("/small")
    await hands.read(response)
    assert pickle.loads(pickle.dumps(response)).content == response.content


@way
async def broken(hands):
    with pytest.raises(hands.lib.TransportError):
        await hands.read(await hands.open("/cut"))


@way
async def broken_and_kept(hands):
    response = hands.host.kept = await hands.open("/cut")
    with pytest.raises(hands.lib.TransportError):
        await hands.read(response)


@way
async def broken_between_chunks(hands):
    with pytest.raises(hands.lib.TransportError):
        await hands.get("/chunks-cut")


@way
async def not_what_its_encoding_says(hands):
    with pytest.raises(Exception, match=r"[Dd]ecod|gzip|incorrect header"):
        await hands.get("/no-gzip")


@way
async def later_than_its_deadline(hands):
    with options(deadline=0.02), pytest.raises(hands.lib.TimeoutException):
        await hands.get("/slow")


@way
async def clients_end_comes_first(hands):
    response = await hands.open()
    async with Hands(hands.world, hands.host) as another:
        other = await another.open()
    del response, other


@way
async def drained_behind_requests_back(hands):
    if not hands.is_requests:
        await read(hands)
        return
    for use in (
        lambda raw: raw.read(),
        json.load,
        lambda raw: [*iter(raw.readline, b"")],
        lambda raw: [*raw],
        lambda raw: raw.data,
        lambda raw: raw.readinto(bytearray(100)),
        lambda raw: raw.drain_conn(),
        lambda raw: [*raw.stream(7, decode_content=False)],
    ):
        response = hands.host.kept = await hands.open("/small")
        use(response.raw)


async def at_once(hands):
    """As many calls as there are permits, all under way at the same time."""

    async def call():
        response = await hands.open("/small")
        await arrived()
        return await hands.read(response)

    barrier = (asyncio.Barrier if hands.world.asynchronous else threading.Barrier)(PERMITS)

    async def arrived():
        async with asyncio.timeout(5) if hands.world.asynchronous else contextlib.nullcontext():
            await settled(barrier.wait(*([] if hands.world.asynchronous else [5])))

    bodies = await hands.world.together(PERMITS, call)
    assert bodies == [b'{"a": 1}\n'] * PERMITS


async def collected(world):
    """Have the collector take what refers to itself, as all of httpx's responses do."""
    for _ in range(5):  # an async generator takes part in it through its loop
        gc.collect()
        await world.sleep(0.002)


def served(world, service, *plugins):
    service.answer = answer
    timeout = {"pool": 1, "read": 10, "connect": 10}
    return world.serve(service, *plugins, max_connections=PERMITS, timeout=timeout)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.contract("permit-comes-back")
async def test_a_permit_is_back_when_its_response_is_over_closed_or_collected(
    flext_service, flext_world, name
):
    host = served(flext_world, flext_service)
    for _ in range(PERMITS + 1):
        async with Hands(flext_world, host) as hands:
            await WAYS[name](hands)
        await collected(flext_world)
    async with Hands(flext_world, host) as hands:
        await at_once(hands)
    for _ in range(1000):
        if flext_service.sockets <= PERMITS:  # what was left behind is closed, and not kept
            return
        await flext_world.sleep(0.01)
    raise AssertionError(f"{flext_service.sockets} connections are open")


ROUNDS = int(os.environ.get("FLEXT_ROUNDS", "1"))
"""Of 200 calls, in each of the five worlds: 10 rounds are 10,000 calls."""


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.contract("permit-comes-back")
async def test_many_responses_treated_at_random_leave_full_capacity(
    flext_service, flext_world, seed
):
    host = served(flext_world, flext_service)
    chosen = random.Random(seed).choices([*WAYS.values()], k=200)
    gc.collect()
    gc.freeze()  # what was there before need not be looked through after each call
    try:
        for each in chosen:
            async with Hands(flext_world, host) as hands:
                await each(hands)
            await collected(flext_world)
    finally:
        gc.unfreeze()
    async with Hands(flext_world, host) as hands:
        await at_once(hands)
