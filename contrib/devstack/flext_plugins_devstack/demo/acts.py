"""The acts of the demo: each does one thing with flext-plugins and checks what the servers saw.

An act yields lines for the reader. It raises `Unmet` if it did not see what it promises, and
`Skipped` if it cannot be played here.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Iterator

import httpx

import flext_plugins
from flext_plugins import Host
from flext_plugins_devstack.auth import TokenError
from flext_plugins_devstack.fault import Fault
from flext_plugins_devstack.server import Received
from flext_plugins_devstack.stack import Devstack

from .checks import CALLERS, CONFIG, Since, environment, expect, summary, together

PLUGINS = "/api/v1/flexcore/plugins"
NAMES = ("auth", "circuit-breaker")
API_KEY = "demo-api-key-4711"
SECRET_HEADERS = ("authorization", "x-api-key")


def discovery(_: Devstack) -> Iterator[str]:
    """List the installed plugins, without importing them."""
    plugins = flext_plugins.installed()
    for each in plugins:
        yield f"{each.name or '-':<16}{each.distribution} {each.version}, {each.status}"
    ready = [each.name for each in plugins if each.status == "ready" and each.name in NAMES]
    expect("plugins of ours that are ready", list(NAMES), ready)
    modules = {each.target.partition(":")[0] for each in plugins if each.target}
    imported = sorted(modules & sys.modules.keys())
    yield f"in sys.modules, of {', '.join(sorted(modules))}: {', '.join(imported) or 'none'}"
    expect("modules of plugins in sys.modules", [], imported)


def onion(_: Devstack) -> Iterator[str]:
    """Compose flexcore and draw the result."""
    with Host.from_file(CONFIG) as host:
        explanation = host.explain("flexcore")
    drawn = str(explanation).replace(str(CONFIG), CONFIG.name)
    expect("the password in the drawing", False, os.environ["FLEXT_PASSWORD"] in drawn)
    yield from drawn.splitlines()
    layers = [each.plugin for each in explanation.layers if each.plugin in NAMES]
    expect("layers, outermost first", list(NAMES), layers)


def authentication(stack: Devstack) -> Iterator[str]:
    """Call an API that demands a token."""
    since = Since(stack)
    bare = httpx.get(stack.flexcore.url + PLUGINS, trust_env=False)
    yield f"httpx alone gets {bare.status_code}"
    expect("status without a token", 401, bare.status_code)
    with Host.from_file(CONFIG) as host:
        response = host.connect("flexcore").get(PLUGINS)
    yield f"through the host {response.status_code}"
    expect("status", 200, response.status_code)
    login = stack.auth.received[-1]
    yield f"flext-auth saw  {login.method} {login.path}; logins: {since.logins}"
    expect("logins", 1, since.logins)
    scheme = since.flexcore[-1].headers.get("authorization", "nothing").partition(" ")[0]
    yield f"flexcore saw    GET {PLUGINS}, Authorization: {scheme} ***"
    expect("authorization on the wire", "Bearer", scheme)
    shown = list(response.request.headers)
    yield f"response.request.headers has {', '.join(shown)}"
    expect("authorization in response.request", False, "authorization" in shown)


def sharing(stack: Devstack) -> Iterator[str]:
    """Call from many threads at once, then from many tasks, before there is a token."""

    def threads() -> list[int]:
        with Host.from_file(CONFIG) as host:
            flexcore = host.connect("flexcore")
            return together(lambda: flexcore.get(PLUGINS).status_code)

    async def tasks() -> list[int]:
        async with Host.from_file(CONFIG) as host, host.aconnect("flexcore") as flexcore:
            calls: list[Awaitable[httpx.Response]] = [flexcore.get(PLUGINS) for _ in range(CALLERS)]
            return [each.status_code for each in await asyncio.gather(*calls)]

    for kind, statuses in (("threads", threads), ("tasks", lambda: asyncio.run(tasks()))):
        stack.auth.fault(Fault(delay=0.3))  # so long that all are waiting for the login
        since = Since(stack)
        seen = Counter(statuses())
        yield (
            f"{CALLERS} {kind}: {summary(seen)}; "
            f"requests at flexcore: {len(since.flexcore)}, logins at flext-auth: {since.logins}"
        )
        expect(f"statuses of {kind}", {200: CALLERS}, dict(seen))
        expect(f"requests of {kind} at flexcore", CALLERS, len(since.flexcore))
        expect(f"logins of {kind}", 1, since.logins)


def healing(stack: Devstack) -> Iterator[str]:
    """Call with a token that has been revoked without the host's knowledge."""
    with Host.from_file(CONFIG) as host:
        flexcore = host.connect("flexcore")
        first = flexcore.get(PLUGINS)
        expect("status before", 200, first.status_code)
        since = Since(stack)
        stack.auth.revoke_all()
        response = flexcore.get(PLUGINS)
    verdicts = [_verdict(stack, each) for each in since.flexcore]
    yield f"the caller got {response.status_code}"
    yield f"flexcore saw {len(verdicts)} requests; their tokens: {', '.join(verdicts)}"
    yield f"logins at flext-auth: {since.logins}"
    expect("status", 200, response.status_code)
    expect("logins", 1, since.logins)
    expect("tokens at flexcore", ["token is blacklisted", "valid"], verdicts)


def _verdict(stack: Devstack, request: Received) -> str:
    try:
        stack.auth.authenticate(request.headers.get("authorization"))
    except TokenError as error:
        return str(error)
    return "valid"


def redirection(stack: Devstack) -> Iterator[str]:
    """Follow a redirect to another origin from a request with secrets."""
    variables = {
        "FLEXT__SERVICES__FLEXCORE__HEADERS__X_API_KEY": "env:FLEXCORE_API_KEY",
        "FLEXCORE_API_KEY": API_KEY,
    }
    yield "FLEXT__SERVICES__FLEXCORE__HEADERS__X_API_KEY=env:FLEXCORE_API_KEY"
    stack.flexcore.fault(Fault(redirect=f"{stack.echo.url}/moved", times=2))
    since = Since(stack)
    with environment(variables), Host.from_file(CONFIG) as host:
        response = host.connect("flexcore", follow_redirects=True).get(PLUGINS)
    hops = [*response.history, response]
    yield ", then ".join(f"{each.status_code} from {each.url}" for each in hops)
    expect("status", 200, response.status_code)
    yield f"flexcore saw   {_secrets_in(since.flexcore)}"
    yield f"elsewhere saw  {_secrets_in(since.elsewhere)}"
    expect("secrets at flexcore", " and ".join(SECRET_HEADERS), _secrets_in(since.flexcore))
    expect("secrets elsewhere", "neither", _secrets_in(since.elsewhere))
    shown = _secret_names([list(each.request.headers) for each in hops])
    yield f"response.history and response.request show {shown}"
    expect("secrets in the requests that the caller sees", "neither", shown)
    since = Since(stack)
    httpx.get(
        stack.flexcore.url + PLUGINS,
        headers={"Authorization": "Bearer x", "X-API-Key": API_KEY},
        follow_redirects=True,
        trust_env=False,
    )
    yield f"with httpx alone elsewhere sees {_secrets_in(since.elsewhere)}"


def _secrets_in(requests: list[Received]) -> str:
    return _secret_names([list(each.headers) for each in requests]) if requests else "no request"


def _secret_names(headers: list[list[str]]) -> str:
    """The secret ones among the header names, in lower case, of several requests."""
    names = [name for name in SECRET_HEADERS if any(name in each for each in headers)]
    return " and ".join(names) or "neither"
