"""The plugin: adds the credential to each request, and replaces a rejected token once.

A new scheme is an entry in `settings.SCHEMES`, its settings in `AuthSettings`, and its credential:
a branch in `credential.static_credential`, a grant in `GRANTS`, or, if it needs the request, a
branch in `Auth.flext_exchange`. A signature over the finished message is no scheme of this plugin,
which stands at `Stage.AUTH`: plugins further in may still change the message. Write one at
`Stage.SIGN`.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from flext_plugins import (
    ConfigError,
    DeadlineExceeded,
    Refused,
    Stage,
    Status,
    events,
    hookimpl,
    options,
)

from .cache import Backoff, TokenCaches
from .credential import Credential, static_credential
from .issuer import fetch_token
from .login import Login
from .oauth2 import OAuth2
from .settings import AuthSettings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from flext_plugins import Call, Connection, Request, Response, Send, Service

    from .token import Grant, Token

GRANTS: dict[str, type[Login | OAuth2]] = {"login": Login, "oauth2": OAuth2}
"""The schemes that fetch a token."""


class Auth:
    """Puts the service's credential on every request that does not bring its own.

    The credential is on the message only while `send` runs, which hands a clone inward: nothing
    further out, the application included, ever sees it.
    """

    Settings = AuthSettings
    stage = Stage.AUTH
    fail_closed = True
    identifies = True

    def __init__(self, settings: AuthSettings, service: Service) -> None:
        self._settings = settings
        self._header = settings.header or "Authorization"
        self._tokens: ServiceTokens | None = None
        self._credential: Credential | None = None
        _check_headers(self._header, settings, service)
        if settings.scheme in GRANTS:
            self._tokens = ServiceTokens(settings, service)
        elif settings.scheme == "mtls":
            _check_certificate(service)
        else:
            # So that a value no header can carry is found now, and not at the first request.
            self._credential = static_credential(settings)

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Send,
        connection: Connection,
    ) -> Response:
        """Send with the credential; after a 401, fetch another token and send once more."""
        if self._settings.scheme == "mtls":
            return await send(request)
        if self._header in request.headers and not self._settings.replace:
            return await send(request)
        if self._tokens is None:
            self._credential = credential = static_credential(self._settings, self._credential)
            return await self._send_with(request, send, credential)
        began = time.monotonic()
        token = await self._tokens.get(connection)
        response = await self._send_with(request, send, token)
        if not self._tokens.may_heal(response.status_code, token, began):
            return response
        if not connection.sendable(request):
            return response
        await connection.close(response)  # first: it may hold the pool's only connection
        token = await self._tokens.get(connection)
        response = await self._send_with(request, send, token)
        self._tokens.note_resend(response.status_code)
        return response

    @hookimpl
    def flext_status(self) -> Status:
        """Report the scheme, and how old the token is."""
        facts = self._tokens.facts() if self._tokens else {}
        return Status({"scheme": self._settings.scheme, **facts})

    async def _send_with(
        self,
        request: Request,
        send: Send,
        credential: Credential,
    ) -> Response:
        # No variable holds the headers: they have the service's secrets, which a frame would show.
        header, own = self._header, None
        if self._settings.replace and header in request.headers:  # else it is not there
            own = Credential(request.headers[header])
        request.headers[header] = credential.value
        try:
            return await send(request)
        finally:
            if own is None:
                del request.headers[header]
            else:
                request.headers[header] = own.value


class ServiceTokens:
    """Gets and renews the token for one service; services with equal grants share it."""

    def __init__(self, settings: AuthSettings, service: Service) -> None:
        self._grant: Grant = GRANTS[settings.scheme].of(settings)
        self._leeway = settings.leeway or 0.0
        self._cache = service.shared(TokenCaches, TokenCaches).of(self._grant)
        self._rejections = Backoff()

    async def get(self, connection: Connection) -> Token:
        """The token; one caller renews it before it expires, while the others use the old one.

        Raises:
            Refused: none can be had.
            DeadlineExceeded: the call's own time is up.
            ConfigError: a secret cannot be read.
        """
        cache = self._cache
        token = cache.valid()
        work = partial(self._fetch, connection, token)
        if token is None:
            return await connection.once(self._grant, work, shared=True)
        if not token.is_due(self._leeway) or not cache.begin_renewal():
            return token
        try:
            with _half_the_time(connection.call):
                return await connection.once(self._grant, work, shared=True)
        except (Refused, ConfigError):
            return token
        except DeadlineExceeded:  # of the half, unless the whole time is up
            if connection.call is not None:
                connection.call.check(self._grant.place)
            return token
        finally:
            cache.end_renewal()

    def facts(self) -> dict[str, Any]:
        """Facts about the token; never its value."""
        return {"issuer": str(self._grant.service), "token": self._cache.facts()}

    async def _fetch(self, connection: Connection, old: Token | None) -> Token:
        cache, issuer = self._cache, self._grant.service
        fresh = cache.valid()
        if fresh is not None and fresh is not old:  # another flight has landed since
            return fresh
        memory = cache.failures if old is None else cache.renewals
        memory.check()
        started = time.perf_counter()
        try:
            token = await fetch_token(self._grant, cache, connection)
        except Exception as error:
            duration = time.perf_counter() - started
            refused = isinstance(error, Refused) and error.args
            reason = str(error.args[0]) if refused else type(error).__name__
            connection.emit(events.TokenFetched(issuer, "failed", duration, reason))
            if isinstance(error, Refused):
                memory.note_failure(str(error.args[0]), error.retry_after)
                error.retry_after = error.retry_after or memory.remaining
                if old is not None and isinstance(error.__cause__, DeadlineExceeded):
                    # The caller's short time is not that of those who wait: they ask themselves.
                    raise DeadlineExceeded(error.args[0]) from error
            raise
        cache.keep(token)
        connection.emit(events.TokenFetched(issuer, "fetched", time.perf_counter() - started))
        return token

    def may_heal(self, status: int, token: Token, began: float) -> bool:
        """Whether an exchange that `began` at that time may be sent again with another token.

        If so, `token` is forgotten. A new token cannot help if the rejected one was fetched for
        this very exchange, nor for a while after a resend with a new token was rejected as well.
        """
        if status != 401:
            self._rejections.reset()
        elif token.fetched_at < began and not self._rejections.remaining:
            self._cache.reject(token)
            return True
        return False

    def note_resend(self, status: int) -> None:
        """Note the status that a resend got."""
        if status == 401:
            self._rejections.note_failure()


def _half_the_time(call: Call | None) -> AbstractContextManager[None]:
    """Give a renewal half of the time; the request, which has a valid token, gets the rest."""
    left = call.remaining() if call else None
    return nullcontext() if left is None or left <= 0 else options(deadline=left / 2)


def _check_headers(header: str, settings: AuthSettings, service: Service) -> None:
    """See that the service's own headers leave something to do.

    Raises:
        ConfigError: they have the credential already.
    """
    own = {each.lower() for each in service.headers}
    if settings.scheme != "mtls" and not settings.replace and header.lower() in own:
        raise ConfigError(
            f"the service has a header {header} of its own, from its headers or the user info in "
            "base_url, so that this plugin would never act; take that away, or say replace = true"
        )


def _check_certificate(service: Service) -> None:
    problems = []
    if service.cert is None:
        problems.append("needs the service's `cert`, a client certificate with its key")
    if not (service.base_url or "").lower().startswith("https://"):
        problems.append("needs a `base_url` with https://")
    if problems:
        raise ConfigError(f"scheme 'mtls' {'; it '.join(problems)}")
