"""What credentials do: tokens by OAuth's client credentials, and a key in a header.

An adapter is made by one of its class methods: `oauth2(tokens, url, pool)`,
`refreshing(tokens, url)` for a token that comes with a refresh token, `api_key(url, key)`,
`bearer(url, token)` and `failing(tokens, url)` for a credential whose source will be down.
`get(url)` and `aget(url)` send a GET and follow redirects. What a library has no way to say it
leaves out.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from flext_plugins.testing import Answer, LoopbackService, Received

from .measurement import ASYNC, SYNC, Caller, NotOffered, Outcome, behaviour, outcome, services

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Credentials"
KEY = "a-key-in-a-header"


class Tokens:
    """A token service, and a service that takes its tokens.

    Attributes:
        lifetime: `expires_in` of the next tokens, as JSON.
        refresh: whether they come with a refresh token, each of which is taken once.
        grants: the grant of each fetch so far.
        delay: seconds that a fetch takes.
        swells: the next answers hold 64 MiB of padding, which gzip makes 64 KiB of.
        revoked: the service answers 401 to these.
    """

    def __init__(self, issuer: LoopbackService, service: LoopbackService) -> None:
        self.lifetime: Any = 3600
        self.delay, self.refresh, self.swells = 0.0, False, False
        self.grants: list[str] = []
        self.revoked: set[str] = set()
        self._fetched = 0
        self.issuer, self.service = issuer, service
        issuer.answer, service.answer = self._issue, self._serve

    def expire(self) -> None:
        """Let the token that was fetched with a `lifetime` of one second run out."""
        time.sleep(1.1)
        self.lifetime = 3600
        self.grants.clear()

    def revoke(self) -> None:
        """Let the service refuse the newest token, and all before it."""
        self.revoked = {f"Bearer token-{number}" for number in range(self._fetched + 1)}
        self.grants.clear()

    def _issue(self, received: Received) -> Answer:
        form = parse_qs(received.body.decode())
        grant = form["grant_type"][0]
        self.grants.append(grant)
        if grant == "refresh_token" and form["refresh_token"] != [f"refresh-{self._fetched}"]:
            return Answer(400, _JSON, b'{"error": "invalid_grant"}')
        self._fetched += 1
        told = {"token_type": "Bearer", "expires_in": self.lifetime}
        told["access_token"] = f"token-{self._fetched}"
        if self.refresh:
            told["refresh_token"] = f"refresh-{self._fetched}"
        body, headers = json.dumps(told).encode(), _JSON
        if self.swells:
            body = gzip.compress(body[:-1] + b', "padding": "' + b"0" * (64 << 20) + b'"}')
            headers = {**_JSON, "Content-Encoding": "gzip"}
        return Answer(200, headers, body, self.delay)

    def _serve(self, received: Received) -> Answer:
        said = received.headers.get("authorization")
        if said is None or said in self.revoked:
            return Answer(401, body=b"x" * 100_000, delay=0.2)
        return Answer()


_JSON = {"Content-Type": "application/json"}


@contextmanager
def authorized(
    adapter: Any, mode: str, kind: str = "oauth2", lifetime: Any = 3600, **options: Any
) -> Iterator[tuple[Caller, Tokens]]:
    """Calls with a credential, after a first one that has fetched a token."""
    make = getattr(adapter, kind, None)
    if make is None:
        raise NotOffered
    with services(2) as (issuer, service):
        tokens = Tokens(issuer, service)
        tokens.lifetime, tokens.refresh = lifetime, kind == "refreshing"
        with Caller(make(f"{issuer.url}/token", service.url, **options), mode) as call:
            answer = call(service.url)
            if getattr(answer, "status_code", None) != 200:
                raise RuntimeError(f"the first call: {answer!r}")
            tokens.grants.clear()
            yield call, tokens


def good(answers: list[Any]) -> int:
    """How many were answered with 200."""
    return sum(getattr(each, "status_code", None) == 200 for each in answers)


@behaviour(SYNC, ASYNC)
def callers_share_one_fetch(adapter: Any, mode: str) -> Outcome:
    """With an expired token, ten threads, or ten tasks, fetch one."""
    with authorized(adapter, mode, lifetime=1) as (call, tokens):
        tokens.expire()
        tokens.delay = 0.3
        answers = call.together(10, tokens.service.url)
        if good(answers) < 10:
            return outcome(False, f"{10 - good(answers)} of 10 fail")
        return outcome(len(tokens.grants) == 1, f"{len(tokens.grants)} fetches")


@behaviour(SYNC, ASYNC)
def a_401_is_healed(adapter: Any, mode: str) -> Outcome:
    """A revoked token, answered with 401, is fetched anew and the request sent again, once."""
    with authorized(adapter, mode) as (call, tokens):
        tokens.revoke()
        healed = good([call(tokens.service.url)]) == 1 and len(tokens.grants) == 1
        return outcome(healed, "the caller gets it")


@behaviour(SYNC, ASYNC)
def a_storm_of_401s_makes_one_fetch(adapter: Any, mode: str) -> Outcome:
    """Ten callers who get a 401 at the same time fetch one token."""
    with authorized(adapter, mode) as (call, tokens):
        tokens.revoke()
        tokens.delay = 0.3
        answers = call.together(10, tokens.service.url)
        if good(answers) < 10:
            return outcome(False, f"{10 - good(answers)} of 10 get it")
        return outcome(len(tokens.grants) == 1, f"{len(tokens.grants)} fetches")


@behaviour(SYNC, ASYNC)
def a_pool_of_one_heals(adapter: Any, mode: str) -> Outcome:
    """A 401 is healed over a pool of one connection."""
    with authorized(adapter, mode, pool=1) as (call, tokens):
        tokens.revoke()
        return outcome(good([call(tokens.service.url)]) == 1, "the caller gets it")


@behaviour(ASYNC)
def the_event_loop_goes_on(adapter: Any, mode: str) -> Outcome:
    """The event loop goes on while a token is fetched."""
    with authorized(adapter, mode, lifetime=1) as (call, tokens):
        tokens.expire()
        tokens.delay = 1.0

        async def longest_stop(auth: Any) -> float:
            task = asyncio.create_task(auth.aget(tokens.service.url))
            longest, before = 0.0, time.monotonic()
            while not task.done():
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - before)
                before = time.monotonic()
            await task
            return longest

        return outcome(call.run(longest_stop) < 0.7, "stands still")


def _elsewhere(call: Caller, answered: LoopbackService, header: str, value: str) -> Outcome:
    with services() as (elsewhere,):
        answered.answer = Answer(302, {"Location": elsewhere.url})
        call(answered.url)
        if value not in answered.received[-1].headers.get(header, ""):
            raise RuntimeError("the credential was not sent at all")
        (followed,) = elsewhere.received
        return outcome(value not in followed.headers.get(header, ""), "is sent along")


@behaviour(SYNC, ASYNC)
def a_token_stays_with_its_origin(adapter: Any, mode: str) -> Outcome:
    """A redirect to another origin does not take the bearer token along."""
    if hasattr(adapter, "bearer"):
        with services() as (service,), Caller(adapter.bearer(service.url, KEY), mode) as call:
            return _elsewhere(call, service, "authorization", KEY)
    with authorized(adapter, mode) as (call, tokens):
        return _elsewhere(call, tokens.service, "authorization", "Bearer token-")


@behaviour(SYNC, ASYNC)
def a_key_stays_with_its_origin(adapter: Any, mode: str) -> Outcome:
    """A redirect to another origin does not take a key in `X-API-Key` along."""
    if not hasattr(adapter, "api_key"):
        raise NotOffered
    with (
        services() as (service,),
        Caller(adapter.api_key(service.url, KEY), mode) as call,
    ):
        return _elsewhere(call, service, "x-api-key", KEY)


@behaviour(SYNC, ASYNC)
def without_a_credential_nothing_is_sent(adapter: Any, mode: str) -> Outcome:
    """When no token can be fetched, the request is not sent without one."""
    with authorized(adapter, mode, "failing") as (_, tokens):
        issuer, service = tokens.issuer, tokens.service
        issuer.refuse()
        service.received.clear()
        with Caller(adapter.failing(f"{issuer.url}/token", service.url), mode) as call:
            answer = call(service.url)
        refused = isinstance(answer, Exception) and not service.received
        return outcome(refused, "is sent without")


@behaviour(SYNC, ASYNC)
def a_new_refresh_token_is_kept(adapter: Any, mode: str) -> Outcome:
    """A refresh token that is replaced at each use is kept, for two renewals in a row."""
    with authorized(adapter, mode, "refreshing", 1) as (call, tokens):
        for _ in range(2):
            time.sleep(1.1)
            if good([call(tokens.service.url)]) != 1:
                return outcome(False, "fails")
        said = ", ".join(tokens.grants)
        return outcome(set(tokens.grants) == {"refresh_token"}, said)


@behaviour(SYNC, ASYNC)
def an_odd_lifetime_is_understood(adapter: Any, mode: str) -> Outcome:
    """A token serves its call if `expires_in` is 0, null, or a number in quotes."""
    failing = []
    for lifetime in (0, None, "3600"):
        try:
            with authorized(adapter, mode, lifetime=lifetime):
                pass
        except RuntimeError:
            failing.append(json.dumps(lifetime))
    return outcome(not failing, f"fails for {', '.join(failing)}")


@behaviour(SYNC, ASYNC)
def an_unsendable_key_is_not_held(adapter: Any, mode: str) -> Outcome:
    """An error about a key that no header can carry does not hold the key."""
    if not hasattr(adapter, "api_key"):
        raise NotOffered
    with services() as (service,):
        try:
            with Caller(adapter.api_key(service.url, f"{KEY}\u2019"), mode) as call:
                error = call(service.url)
        except Exception as raised:
            error = raised
    if not isinstance(error, Exception):
        return outcome(False, "is sent")
    parts: list[BaseException | None] = [error, error.__cause__, error.__context__]
    held = "".join(f"{each!r} {each} {vars(each)}" for each in parts if each is not None)
    held += "".join(str(getattr(each, "object", "")) for each in parts)
    return outcome(KEY not in held, "holds it")


@behaviour(SYNC, ASYNC)
def a_swollen_answer_is_refused(adapter: Any, mode: str) -> Outcome:
    """A token service's answer of 64 KiB that would unpack to 64 MiB is refused."""
    with authorized(adapter, mode, lifetime=1) as (call, tokens):
        tokens.expire()
        tokens.swells = True
        return outcome(not good([call(tokens.service.url)]), "is unpacked")


BEHAVIOURS = (
    callers_share_one_fetch,
    a_401_is_healed,
    a_storm_of_401s_makes_one_fetch,
    a_pool_of_one_heals,
    the_event_loop_goes_on,
    a_token_stays_with_its_origin,
    a_key_stays_with_its_origin,
    without_a_credential_nothing_is_sent,
    a_new_refresh_token_is_kept,
    an_odd_lifetime_is_understood,
    an_unsendable_key_is_not_held,
    a_swollen_answer_is_refused,
)
