"""`make mutants`: break one named line for each point of the contract, and see a test fall.

Each mutant is one small replacement in a copy of the library, with the tests that have to notice.
A mutant that survives, or whose line is gone, fails the run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Mutant(NamedTuple):
    """One line, broken."""

    point: str
    file: str
    line: str
    broken: str
    tests: str
    """A pytest `-k` expression."""


EXCHANGE, HOOKS = "test_exchange.py", "test_hooks.py"
MUTANTS = [
    # 1: the chain is the client's transport
    Mutant("6.1 hops share one call", "clients/pool.py", "call.attempt += 1", "pass", "test_1"),
    Mutant(
        "6.1 each send is a call of its own",
        "clients/httpx.py",
        "request.extensions.pop(CALL, None)",
        "pass",
        "test_1",
    ),
    Mutant(
        "6.1 environment proxies work",
        "clients/pool.py",
        "proxies = getproxies()",
        "proxies = {}",
        "test_1",
    ),
    # 2: plugins get a clone
    Mutant(
        "6.2 the client's request is not touched",
        "clients/pool.py",
        "clone = self._copied(request)",
        "clone = request",
        "test_2",
    ),
    Mutant(
        "6.2 the client gets its own request back",
        "clients/pool.py",
        "response.request = request",
        "pass",
        "callers_request_back",
    ),
    Mutant(
        "6.2 outer stages clone for each attempt",
        "chain.py",
        "layer.stage <= Stage.AUTH",
        "False",
        "test_2",
    ),
    Mutant(
        "6.2 from GUARD on the message is shared",
        "chain.py",
        "layer.stage <= Stage.AUTH",
        "True",
        "test_2",
    ),
    Mutant(
        "6.2 the clone stays further in",
        "chain.py",
        "response.request = message",
        "pass",
        "test_2",
    ),
    # 3: own origin only
    Mutant(
        "6.3 another origin gets a bare request",
        "clients/pool.py",
        "own = library.owns(request)",
        "own = True",
        "test_3 or test_2",
    ),
    Mutant(
        "6.3 origins are not string prefixes",
        "clients/httpx.py",
        "return (url.raw_scheme, url.raw_host, url.port) == self._origin",
        "return str(url).startswith(self._service.base_url)",
        "test_3",
    ),
    Mutant(
        "6.3 the client certificate stays home",
        "clients/httpx.py",
        "self._service.cert if own else None",
        "self._service.cert",
        "test_3",
    ),
    Mutant(
        "6.3 the caller's headers win",
        "clients/pool.py",
        "in (None, self._defaults.get(name.lower()))",
        "!= 0",
        "test_3",
    ),
    Mutant(
        "6.3 without plugins what arrives is the plain client's, to the letter",
        "clients/httpx.py",
        "headers=request.headers,\n            stream",
        "headers=dict(request.headers),\n            stream",
        "plain_one_does",
    ),
    # 4: answering, replacing, sending again
    Mutant(
        "6.4 inner layers do not run",
        "messages.py",
        "self._layers[:place]",
        "self._layers",
        "spares_the_service",
    ),
    Mutant(
        "6.4 a superseded response is closed",
        "chain.py",
        "if self.response is not None:",
        "if False:",
        "test_4",
    ),
    Mutant(
        "6.4 a replaced response is closed",
        "chain.py",
        "if send.response is not None:",
        "if False:",
        "test_4",
    ),
    Mutant("6.4 send waits for itself", "chain.py", "if self._busy:", "if False:", "test_4"),
    Mutant(
        "6.4 only what can be replayed is sent again",
        "chain.py",
        "if not wire_of(self._scope).replayable(message):",
        "if False:",
        "test_4",
    ),
    # 5: whose failure
    Mutant(
        "6.5 what a plugin raises names it",
        "chain.py",
        "if error is send.error or not isinstance(error, Exception):",
        "if True:",
        "test_5",
    ),
    Mutant(
        "6.5 what its send raised passes",
        "chain.py",
        "if error is send.error or not isinstance(error, Exception):",
        "if not isinstance(error, Exception):",
        "test_5",
    ),
    Mutant(
        "6.5 a cancelled exchange gives its permit back",
        "clients/pool.py",
        "                self._gate.leave()\n",
        "                pass\n",
        "test_5_cancellation",
    ),
    Mutant(
        "6.5 a cancelled exchange does not wedge the pool",
        "clients/httpx.py",
        "await steady(pool.handle_async_request(request), _closed)",
        "await pool.handle_async_request(request)",
        "test_5_cancellation",
    ),
    # 6: observers
    Mutant(
        "6.6 what an observer raises is swallowed",
        "chain.py",
        "            if error is not send.error:\n",
        "            if error is not send.error:\n                raise\n",
        "test_6",
    ),
    Mutant("6.6 the host sends for it", "chain.py", "await send(message)\n", "pass\n", "test_6"),
    Mutant(
        "6.6 it cannot change an outcome",
        "chain.py",
        "        if send.error is not None:\n            raise send.error\n",
        "",
        "test_6",
    ),
    Mutant(
        "6.6 it cannot send twice",
        "chain.py",
        'raise PluginError("an observer cannot send twice", self._around.name)',
        "pass",
        "test_6",
    ),
    Mutant(
        "6.6 it is logged once a minute",
        "line.py",
        "if last is None or now - last >= REPORT_SECONDS:",
        "if True:",
        "test_6",
    ),
    # 7: refusals
    Mutant(
        "6.7 a refusal is the library's own error",
        "clients/pool.py",
        "return native(error, find(library).refused)",
        "return error",
        "test_7",
    ),
    Mutant(
        "6.7 it survives pickling",
        "errors.py",
        '"__reduce__": reduce',
        '"_reduce": reduce',
        "test_7",
    ),
    # 8: streaming
    Mutant(
        "6.8 nothing buffers a body unasked",
        "clients/pool.py",
        "return self._masked(await self._dispatch(request, call, None, own=own), request)",
        "response = await self._dispatch(request, call, None, own=own); "
        "await self.read(response); return response",
        "test_8",
    ),
    Mutant(
        "6.8 a body that a plugin read ends again",
        "clients/views.py",
        "self._watchers, self._ended = [], None",
        "pass",
        "all_worlds_see_the_same",
    ),
    # 9: opening and closing
    Mutant(
        "6.9 opening is all or nothing",
        "line.py",
        "            for failed in await self._release():\n",
        "            for failed in []:\n",
        "test_9",
    ),
    Mutant(
        "6.9 what was provided last is closed first",
        "line.py",
        "for each in reversed(self.resources)",
        "for each in self.resources",
        "test_9",
    ),
    Mutant(
        "6.9 closing runs everything",
        "line.py",
        "                failed.append(error)\n",
        "                failed.append(error)\n                break\n",
        "test_9",
    ),
    # 10: every response and error carries the call
    Mutant(
        "6.10 a response carries the call",
        "clients/pool.py",
        "response.extensions[CALL] = call",
        "pass",
        "test_10",
    ),
    Mutant(
        "6.10 a native error carries the call",
        "clients/pool.py",
        "error.flext_call = call",
        "pass",
        "test_10",
    ),
    # sections 3 to 5
    Mutant(
        "4 a foreign await is thrown into the coroutine",
        "drive.py",
        "told.add(frame)",
        "coroutine.close(); raise error",
        "foreign",
    ),
    Mutant(
        "4 a plugin takes no part in what it causes",
        "connection.py",
        "| {id(self._layer.plugin)}",
        "| set()",
        "log_in_at_itself",
    ),
    Mutant(
        "4 loops between services are found",
        "host.py",
        "if name in path:",
        "if False:",
        "log_in_at_each_other",
    ),
    Mutant(
        "4 waiting for oneself is found",
        "flight.py",
        "return stuck or not needs.isdisjoint(mine)",
        "return stuck",
        "wait_for_itself or wait_for_each_other",
    ),
    Mutant(
        "4 a blocked loop is found",
        "flight.py",
        "return stuck or not needs.isdisjoint(mine)",
        "return not needs.isdisjoint(mine)",
        "own_loop_thread",
    ),
    Mutant(
        "4 a blocked loop is found at one remove",
        "flight.py",
        "if each.loop_thread in self._blocked:",
        "if False:",
        "at_one_remove",
    ),
    Mutant(
        "4 a cancelled leader is followed by a waiter",
        "flight.py",
        "if not flight.abandoned:",
        "if True:",
        "leader",
    ),
    Mutant(
        "4 a forked child starts afresh",
        "host.py",
        "host._fresh(closed=host._lines.closed)",
        "pass",
        "forked_children",
    ),
    Mutant(
        "4 a closed host stays closed in a forked child",
        "host.py",
        "closed=host._lines.closed",
        "closed=False",
        "closed_before_a_fork",
    ),
    Mutant(
        "6.3 a plugin cannot turn a request to another origin",
        "clients/pool.py",
        "        if not own:\n            raise PluginError(",
        "        if False:\n            raise PluginError(",
        "cannot_take",
    ),
    Mutant(
        "4 connections close with their loop",
        "line.py",
        "await anext(self._keeper)",
        "pass",
        "three_asyncio_runs",
    ),
    # the deadline
    Mutant(
        "the deadline ends the wait for an answer",
        "deadline.py",
        "if isinstance(error, self._timed_out) and self._passed:",
        "if False:",
        "slow_answer",
    ),
    Mutant(
        "the deadline ends the wait for a body",
        "clients/streams.py",
        "with self._limit:",
        "with NO_LIMIT:",
        "still_read",
    ),
    Mutant(
        "the deadline ends the wait for a body in requests",
        "clients/views.py",
        "with self._limit:",
        "with NO_LIMIT:",
        "still_read",
    ),
    Mutant(
        "an error does not show what plugins put on a request",
        "clients/requests.py",
        "error.request = None",
        "pass",
        "further_out",
    ),
    Mutant(
        "a body that broke is closed",
        "clients/streams.py",
        "            self.close()",
        "            pass",
        "nobody_closes_it",
    ),
    Mutant(
        "an answer that comes too late is closed",
        "clients/pool.py",
        "                await self.close(response)\n",
        "                pass\n",
        "trickles_in",
    ),
    Mutant(
        "a cancellation that was put off lands where an answer came",
        "clients/streams.py",
        "yield from _landing(end.value, discard)",
        "pass",
        "put_off",
    ),
    Mutant(
        "a cancellation that was put off lands where nothing came",
        "clients/streams.py",
        "            if put_off:\n                yield\n",
        "",
        "put_off",
    ),
    Mutant(
        "anyio's own cancellations stay its own",
        "clients/streams.py",
        "not str(error).startswith(ANYIO)",
        "True",
        "anyio",
    ),
    # the correlation id
    Mutant(
        "the id is sent",
        "clients/pool.py",
        "headers[CORRELATION] = call.correlation_id",
        "pass",
        "id_of_its_own",
    ),
    Mutant(
        "the caller's id is validated",
        "clients/pool.py",
        "(found := correlation(headers[CORRELATION])) is not None",
        "(found := headers[CORRELATION])",
        "header_that_is_none",
    ),
    Mutant(
        "the id of structlog's context is validated",
        "service.py",
        "found = correlation(value)",
        "found = str(value)",
        "came_from_outside",
    ),
    # what services say
    Mutant(
        "a service's error is masked",
        "problem.py",
        "return mask(value)",
        "return value",
        "nobodys_secret",
    ),
    Mutant(
        "a credential is masked without its scheme too",
        "_masking.py",
        'yield shown.partition(" ")[2]',
        "pass",
        "without_its_scheme",
    ),
    Mutant(
        "a body that was not read is not waited for",
        "problem.py",
        "if raw is None or raw.closed:",
        "if True:",
        "not_waited_for_in_requests",
    ),
    Mutant(
        "requests are made from templates while the headers are the same",
        "clients/template.py",
        "or self._headers == client.headers.raw",
        "or True",
        "whatever_the_client",
    ),
    Mutant(
        "while the address is the same",
        "clients/template.py",
        "self._base_url is not client.base_url",
        "False",
        "whatever_the_client",
    ),
    Mutant(
        "while the parameters are the same",
        "clients/template.py",
        "and not self.params",
        "",
        "holds_from_the_next",
    ),
    Mutant(
        "a client with cookies sends them",
        "clients/template.py",
        "and not self.cookies",
        "",
        "whatever_the_client",
    ),
    Mutant(
        "a request that says more is made by the library",
        "clients/template.py",
        "value is not nothing.get(name, nothing)",
        "False",
        "whatever_the_client",
    ),
    Mutant(
        "a path that begins with two slashes is the library's to join",
        "clients/template.py",
        'and url[1:2] != "/" and',
        "and",
        "whatever_the_client",
    ),
    Mutant(
        "a fragment is the library's to drop",
        "clients/template.py",
        'and "#" not in url:',
        ":",
        "whatever_the_client",
    ),
    Mutant(
        "what may be a secret is not kept",
        "clients/template.py",
        'self._is_secret or "?" in url or "@" in url',
        "self._is_secret",
        "ever_new_paths",
    ),
    Mutant(
        "few templates are kept",
        "clients/template.py",
        "self.urls.clear()",
        "pass",
        "ever_new_paths",
    ),
    Mutant(
        "a request's body can be read",
        "clients/template.py",
        "again.read()",
        "pass",
        "whatever_the_client",
    ),
    Mutant(
        "a class with a build_request of its own is left alone",
        "clients/template.py",
        "if kind not in {module.Client, module.AsyncClient}:",
        "if False:",
        "makes_its_own_requests",
    ),
    Mutant(
        "a jar of one's own hears of each answer",
        "clients/template.py",
        'if own or "set-cookie"',
        'if "set-cookie"',
        "jar_of_ones_own",
    ),
    Mutant(
        "an error is that plugin's whose hook raised it",
        "messages.py",
        "form = self.forms[at]",
        "form = self.forms[0]",
        "among_neighbours",
    ),
    Mutant(
        "a session's own settings hold from the next request on",
        "clients/session.py",
        "known is None or known[0] != state",
        "known is None",
        "told_between",
    ),
    Mutant(
        "a session's own headers do",
        "clients/session.py",
        "list(self.headers.items())",
        "()",
        "holds_from_the_next",
    ),
    Mutant(
        "a session's own credential is worked out each time",
        "clients/session.py",
        "own = self.auth or",
        "own =",
        "holds_from_the_next",
    ),
    Mutant(
        "a netrc is read each time",
        "clients/session.py",
        'if "Authorization" in found.headers:',
        "if False:",
        "netrc",
    ),
    Mutant(
        "hooks of a prepared request are its own",
        "clients/session.py",
        "[*hooks] for event, hooks in",
        "hooks for event, hooks in",
        "prepared_request_does_not_show",
    ),
    Mutant(
        "an origin is no prefix of another's name",
        "clients/session.py",
        'return f"{url.scheme}://{url.netloc}/"',
        'return f"{url.scheme}://{url.netloc}"',
        "compares_origins",
    ),
    Mutant("5 stages order", "composition.py", "else each.stage)", "else 0)", "stages"),
]


def survives(mutant: Mutant) -> str:
    """Why `mutant` was not caught, or an empty string."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("flext_plugins", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "conftest.py"):
            shutil.copy(ROOT / part, copy)
        file = copy / "flext_plugins" / mutant.file
        text = file.read_text(encoding="utf-8")
        if mutant.line not in text:
            return f"its line is not in {mutant.file}"
        file.write_text(text.replace(mutant.line, mutant.broken), encoding="utf-8")
        names = (
            "hooks",
            "exchange",
            "once",
            "connection",
            "lifetimes",
            "deadline",
            "correlation",
            "problem",
            "failures",
            "secrets",
            "properties",
            "template",
            "requests",
        )
        tests = [f"tests/test_{name}.py" for name in names]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-k", mutant.tests, *tests]
        try:
            ran = subprocess.run(
                command,
                cwd=copy,
                env={**os.environ, "PYTHONPATH": folder},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return ""  # it hangs, which is noticed too
        if ran.returncode == 1 and ("failed" in ran.stdout or "error" in ran.stdout):
            return ""
        return f"pytest ended with {ran.returncode}: {ran.stdout.strip()[-200:]}"


def main() -> int:
    """Try them all, two at a time."""
    chosen = [each for each in MUTANTS if not sys.argv[1:] or each.point.startswith(sys.argv[1])]
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(survives, chosen))
    for mutant, why in zip(chosen, told, strict=True):
        print(f"{'SURVIVED' if why else 'caught  '}  {mutant.point}{': ' + why if why else ''}")
    print(f"{told.count('')} of {len(told)} mutants caught")
    return 0 if not any(told) else 1


if __name__ == "__main__":
    sys.exit(main())
