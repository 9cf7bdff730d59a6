"""A host's status over HTTP: the ASGI and WSGI applications of `flext_plugins.status`."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import SecretStr

from flext_plugins._chain.drive import drive
from flext_plugins._config.validation import listed
from flext_plugins._connections.log import account
from flext_plugins._errors import ConfigError, FlextError
from flext_plugins._status_page import POLICY, page
from flext_plugins._version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from flext_plugins._connections.channel import Channel
    from flext_plugins._host import Host
    from flext_plugins._runtime import Runtime

SHORTEST = 16
"""Characters that a token has at least."""
ACTIONS = ("trip", "reset")
NAME = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
"""What a browser sends as `Host`."""
HEADERS = [
    ("Flext-Plugins", __version__),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]


class Answer(NamedTuple):
    """An answer to a request."""

    status: int
    body: bytes
    content_type: str = "application/json"
    more: tuple[tuple[str, str], ...] = ()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All headers."""
        length = ("Content-Length", str(len(self.body)))
        return [("Content-Type", self.content_type), length, *HEADERS, *self.more]


class Wish(NamedTuple):
    """A request that may be answered, taken apart."""

    what: str
    """`show`, `health`, `trip` or `reset`."""
    service: str = ""


class StatusApp:
    """Decides who may ask what, and answers; the two applications carry it.

    Args:
        host: the host that is looked at.
        token: what a request has to carry as `Authorization: Bearer`.
        names: DNS names under which it may be asked, beside `localhost` and any IP address.

    Raises:
        ConfigError: the token is shorter than 16 characters, or cannot be sent in a header.
    """

    def __init__(self, host: Host, token: str | SecretStr, names: Iterable[str]) -> None:
        value = token.get_secret_value() if isinstance(token, SecretStr) else token
        if len(value) < SHORTEST or not _is_visible(value):
            raise ConfigError(
                f"token takes {SHORTEST} or more characters of visible ASCII, without blanks"
            )
        self.host, self._token = host, value.encode()
        self._names = {"localhost", *(each.lower() for each in names)}
        self._runtime: Runtime = host._runtime  # noqa: SLF001 - of the same package

    def read(self, method: str, path: str, headers: Mapping[str, str | None]) -> Answer | Wish:
        """Give what is wished, or the answer to what may not be.

        Args:
            method: the request's.
            path: below the place where the application is mounted.
            headers: the values of `host` and `authorization`; `None` if it came twice or not.
        """
        if not self._is_for_us(headers["host"]):
            return _problem(
                400,
                "this Host is none of ours: it has to be an IP address, localhost "
                "or one of `names`",
            )
        scheme, _, given = (headers["authorization"] or "").partition(" ")
        is_known = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._token)
        if not is_known or scheme.lower() != "bearer":
            what = "it wants the header `Authorization: Bearer TOKEN`"
            return _problem(401, what, ("WWW-Authenticate", "Bearer"))
        wish = _wish(path)
        if wish is None:
            return _problem(404, "there are /, /health and /services/NAME/trip and /reset")
        allowed = ("POST",) if wish.what in ACTIONS else ("GET", "HEAD")
        if method not in allowed:
            return _problem(405, f"it wants {allowed[0]}", ("Allow", ", ".join(allowed)))
        return wish

    def _is_for_us(self, given: str | None) -> bool:
        """Whether the `Host` is none that somebody else's DNS may have led here."""
        found = NAME.fullmatch(given or "")
        name = found[1].strip("[]").lower() if found else ""
        if name in self._names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True

    def show(self, accept: str) -> Answer:
        """Show the status, as a page if `accept` names HTML, else in JSON."""
        status = self.host.status()
        if "text/html" in accept.lower():
            text = page(status).encode(errors="replace")
            return Answer(200, text, "text/html; charset=utf-8")
        return _json(200, status.as_dict())

    def health(self, found: Mapping[str, Any]) -> Answer:
        """Show what a question after all services' health came to; 503 if one is not well."""
        is_well = all(each.healthy for each in found.values())
        services = {name: each.as_dict() for name, each in found.items()}
        told = {"process": os.getpid(), "services": services}
        return _json(200 if is_well else 503, told)

    async def open(self, service: str) -> None:
        """Open a service in the running loop, if it is not open anywhere and can be."""
        if service in self.host.services and _opened(self._runtime, service) is None:
            with suppress(FlextError):  # `act` tries it in sync code, and tells
                await self._runtime.channels.get(service, asynchronous=True)

    def act(self, wish: Wish) -> Answer:
        """Trip or reset the circuits of a service, in all processes that share them."""
        if wish.service not in self.host.services:
            names = listed(self.host.services) or "none"
            return _problem(404, f"no service is named {wish.service!r}; there are {names}")
        try:
            facts = _act(self._runtime, wish)
        except FlextError as error:
            return _problem(409, str(error))
        except Exception as error:
            return _problem(409, f"it could not be done: {account(error)}")
        told = {"process": os.getpid(), "service": wish.service, "plugins": facts}
        return _json(200, told)


def _is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _wish(path: str) -> Wish | None:
    if path in {"", "/"}:
        return Wish("show")
    if path == "/health":
        return Wish("health")
    front, _, action = path.rpartition("/")
    if front.startswith("/services/") and action in ACTIONS:
        return Wish(action, front.removeprefix("/services/"))
    return None


def _opened(runtime: Runtime, service: str) -> Channel | None:
    """An open channel to `service`, of whichever world; its plugins are the same in all."""
    return next((each for each in runtime.channels.open() if each.service.name == service), None)


def _act(runtime: Runtime, wish: Wish) -> dict[str, Any]:
    """Do what is wished, and give the facts of the plugins that did it.

    Raises:
        FlextError: the service cannot be composed or opened, or nothing of it can be asked.
    """
    name = wish.service
    channel = _opened(runtime, name)
    if channel is None:  # nobody has used it yet; others shall find it as it is wished
        layers = runtime.composed(name).layers
        channel = drive(runtime.channels.get(name, asynchronous=False), layers)
    able = {who: state for who, state in channel.status().items() if wish.what in state.actions}
    if not able:
        raise ConfigError(
            f"no plugin of service {name!r} has anything to {wish.what}, as a circuit breaker has"
        )
    shared = {who: state for who, state in able.items() if state.facts.get("shared") is True}
    if not shared:
        raise ConfigError(
            f"what {' and '.join(able)} of service {name!r} would {wish.what} is this process's "
            "own, and there may be others: say in its settings where it is `shared`"
        )
    for state in shared.values():
        state.actions[wish.what]()
    return {who: state.facts for who, state in channel.status().items() if who in shared}


def _json(status: int, value: object, *more: tuple[str, str]) -> Answer:
    return Answer(status, json.dumps(value, indent=2, default=str).encode(), more=more)


def _problem(status: int, what: str, *more: tuple[str, str]) -> Answer:
    return _json(status, {"error": what}, *more)


def wsgi(
    app: StatusApp,
) -> Callable[[dict[str, Any], Callable[..., Any]], list[bytes]]:
    """The WSGI application."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        method = environ["REQUEST_METHOD"]
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        named = {"host": "HTTP_HOST", "authorization": "HTTP_AUTHORIZATION"}
        answer = app.read(method, path, {name: environ.get(key) for name, key in named.items()})
        if isinstance(answer, Wish):
            if answer.what == "show":
                answer = app.show(environ.get("HTTP_ACCEPT", ""))
            elif answer.what == "health":
                answer = app.health(app.host.health())
            else:
                answer = app.act(answer)
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", answer.headers)
        return [] if method == "HEAD" else [answer.body]

    return application


def asgi(app: StatusApp) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """The ASGI application."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await _send(send, await _answer(app, scope), scope["method"])
        else:
            await send({"type": "websocket.close"})

    return application


async def _answer(app: StatusApp, scope: Any) -> Answer:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    headers = {name: _only(scope, name) for name in ("host", "authorization")}
    answer = app.read(scope["method"], path, headers)
    if not isinstance(answer, Wish):
        return answer
    if answer.what == "show":
        return app.show(_only(scope, "accept") or "")
    if answer.what == "health":
        return app.health(await app.host.ahealth())
    await app.open(answer.service)
    return await asyncio.to_thread(app.act, answer)


def _only(scope: Any, name: str) -> str | None:
    """The header of that name, unless there are several."""
    found = [value for key, value in scope["headers"] if key.lower() == name.encode()]
    return found[0].decode("latin-1") if len(found) == 1 else None


async def _send(send: Any, answer: Answer, method: str) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = b"" if method == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Any, send: Any) -> None:
    """Take part in the server's start and end."""
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})
