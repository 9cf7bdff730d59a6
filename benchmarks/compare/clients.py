"""How libraries sit on a client.

An adapter is `Stack`: `client(kind, url)` gives a sync client (`httpx`, `httpx2` or `requests`)
with the library in it; `stamping(url)` has `get` and `aget` through one piece of the user's code
that adds the header `X-Stamp`; `within(url, seconds)` has those of its `modes`, for calls that may
take so long, all in all; `credential(url, token)` gives a sync client that sends the token;
`discovered(url, folder)` one whose stamping code was found in an installed distribution. What a
library has no way to say it leaves out.
"""

from __future__ import annotations

import io
import logging
import socket
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import requests

from flext_plugins.testing import Answer, install

from .measurement import ASYNC, SYNC, Caller, NotOffered, Outcome, behaviour, outcome, services

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Clients"
KINDS = {"httpx": httpx.Client, "httpx2": httpx2.Client, "requests": requests.Session}
CANARY = "canary-0123456789"
STAMP = """
from flext_plugins import hookimpl

class Stamp:
    @hookimpl
    def flext_request(self, request):
        request.headers["X-Stamp"] = "1"
"""


def _kinds(adapter: Any, url: str) -> Iterator[tuple[str, Any]]:
    for kind in KINDS:
        try:
            opened = adapter.client(kind, url)
        except NotOffered:
            continue
        yield kind, opened


def _one(adapter: Any, url: str) -> Any:
    return next(_kinds(adapter, url))[1]


def _offered(adapter: Any, what: str) -> Any:
    found = getattr(adapter, what, None)
    if found is None:
        raise NotOffered
    return found


@behaviour()
def client_libraries(adapter: Any, _: str) -> Outcome:
    """It serves these client libraries."""
    with services() as (service,):
        served = []
        for kind, opened in _kinds(adapter, service.url):
            with opened as client:
                if client.get(service.url).status_code == 200:
                    served.append(kind)
        return Outcome(", ".join(served))


@behaviour()
def the_client_is_the_librarys_own(adapter: Any, _: str) -> Outcome:
    """What one works with is an instance of the client library's own class."""
    with services() as (service,):
        for kind, opened in _kinds(adapter, service.url):
            with opened as client:
                if not isinstance(client, KINDS[kind]):
                    return outcome(False, "its own class")
    return outcome(True)


@behaviour()
def one_plugin_serves_both(adapter: Any, _: str) -> Outcome:
    """Code that adds a header, written once, serves sync and async."""
    with services() as (service,):
        made = _offered(adapter, "stamping")(service.url)
        with Caller(made, ASYNC) as acall:
            Caller(made, SYNC)(service.url)
            acall(service.url)
        stamped = sum("x-stamp" in each.headers for each in service.received)
        return outcome(stamped == 2, "is written twice")


@behaviour()
def a_plugin_is_found_by_entry_point(adapter: Any, _: str) -> Outcome:
    """Such code is found in an installed distribution, by its entry point."""
    discovered = _offered(adapter, "discovered")
    with services() as (service,), tempfile.TemporaryDirectory() as folder:
        plugins = {"stamp": "acme_stamp:Stamp"}
        install(Path(folder), "acme-stamp", plugins=plugins, module=STAMP)
        sys.path.insert(0, folder)
        try:
            with discovered(service.url) as client:
                client.get(service.url)
        finally:
            sys.path.remove(folder)
            sys.modules.pop("acme_stamp", None)
        return outcome("x-stamp" in service.received[0].headers, "is not found")


@behaviour()
def the_credential_is_not_in_the_response(adapter: Any, _: str) -> Outcome:
    """The credential is not in `response.request`, which ends up in logs and error reports."""
    make = _offered(adapter, "credential")
    with services() as (service,):
        service.answer = Answer()
        with make(service.url, CANARY) as client:
            answer = client.get(service.url)
        if CANARY not in str(service.received[0].headers):
            raise RuntimeError("the credential was not sent at all")
        return outcome(CANARY not in str(answer.request.headers.multi_items()), "is there")


@contextmanager
def _logged() -> Iterator[io.StringIO]:
    """What all loggers say, as a program that logs at INFO would see it."""
    said = io.StringIO()
    handler, root = logging.StreamHandler(said), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield said
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@behaviour()
def a_token_in_the_url_is_not_logged(adapter: Any, _: str) -> Outcome:
    """A token in the URL's query is not logged, at level INFO."""
    with services() as (service,), _logged() as said:
        with _one(adapter, service.url) as client:
            client.get(f"{service.url}/?access_token={CANARY}")
        return outcome(CANARY not in said.getvalue(), "is logged")


@behaviour()
def a_refused_connection_is_the_librarys_error(adapter: Any, _: str) -> Outcome:
    """A refused connection raises the client library's own error."""
    own = (httpx.ConnectError, httpx2.ConnectError)
    with services() as (service,), _one(adapter, service.url) as client:
        service.refuse()
        try:
            client.get(service.url)
        except Exception as error:
            return outcome(isinstance(error, own), type(error).__name__)
        return outcome(False, "none")


def _hint(listener: socket.socket, seconds: float) -> None:
    """Answer a request with 103, and again, but with nothing else."""
    with suppress(OSError):
        connection, _ = listener.accept()
        with connection:
            for _ in range(int(seconds / 0.02)):
                connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                time.sleep(0.02)


@behaviour(SYNC, ASYNC)
def a_call_ends_with_its_time(adapter: Any, mode: str) -> Outcome:
    """A call that may take a second, all in all, ends then, though `103` comes without end."""
    made = _offered(adapter, "within")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = threading.Thread(target=_hint, args=(listener, 5.0))
        service.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Caller(made(url, 1.0), mode) as call:
            began = time.monotonic()
            call(url)
            took = time.monotonic() - began
        service.join()
        return outcome(took < 3, "does not")


BEHAVIOURS = (
    client_libraries,
    the_client_is_the_librarys_own,
    one_plugin_serves_both,
    a_plugin_is_found_by_entry_point,
    the_credential_is_not_in_the_response,
    a_token_in_the_url_is_not_logged,
    a_refused_connection_is_the_librarys_error,
    a_call_ends_with_its_time,
)
