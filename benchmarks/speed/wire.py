"""Where requests end: in memory, or at a small server in another process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import requests.adapters
from urllib3 import HTTPResponse

from .server import BODY, LONGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SAID = {"http_version": b"HTTP/1.1"}
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def _answer(body: bytes) -> tuple[bytes, dict[str, str], list[tuple[bytes, bytes]]]:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return body, headers, [(name.encode(), value.encode()) for name, value in headers.items()]


_ANSWERS = (_answer(BODY), _answer(LONGER))


def _replies(library: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What stands in the place of the methods in which httpx's transports go to the network."""

    def reply(_: Any, request: Any) -> Any:
        body, _headers, raw = _ANSWERS[request.method == "POST"]
        return library.Response(
            200, headers=raw, stream=library.ByteStream(body), extensions=dict(_SAID)
        )

    async def areply(transport: Any, request: Any) -> Any:
        return reply(transport, request)

    return reply, areply


def _adapted(adapter: Any, request: Any, *_: Any, **__: Any) -> Any:
    body, headers, _raw = _ANSWERS[request.method == "POST"]
    raw = HTTPResponse(io.BytesIO(body), headers, 200, preload_content=False)
    return adapter.build_response(request, raw)


@contextmanager
def memory() -> Iterator[str]:
    """Every request of the process is answered at the place where its library goes to the network.

    That is `HTTPTransport.handle_request` for httpx and httpx2 and `HTTPAdapter.send` for requests,
    where `respx`, `pytest-httpx` and `responses` answer as well: below everything that a client, a
    peer or a host adds, and the same for all.
    """
    with ExitStack() as stack:
        for library in (httpx, httpx2):
            reply, areply = _replies(library)
            _swap(stack, library.HTTPTransport, "handle_request", reply)
            _swap(stack, library.AsyncHTTPTransport, "handle_async_request", areply)
        _swap(stack, requests.adapters.HTTPAdapter, "send", _adapted)
        yield "http://127.0.0.1:9"


def _swap(stack: ExitStack, owner: type, name: str, value: Any) -> None:
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


@contextmanager
def loopback() -> Iterator[str]:
    """A server in a process of its own, whose time is not counted."""
    command = [sys.executable, "-m", "benchmarks.speed.server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.stdin.close()  # it ends with it


def no_proxies() -> None:
    """Forget what the environment says of proxies: these requests go to this machine."""
    for name in PROXIES:
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
