"""The plugin: marks each request, and recovers once from a rejected token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flext_plugins import (
    ConfigError,
    DeadlineExceeded,
    PluginError,
    Refused,
    Stage,
    events,
    hookimpl,
)

from .credential import configured
from .settings import AuthSettings
from .token import Login, Token, Tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flext_plugins import Call, Connection, Request, Response, Service


class Auth:
    """Puts the service's credential on every request that does not bring its own.

    The credential is on the message only while `send` runs, which hands a clone inward: nothing
    further out, the application included, ever sees it.
    """

    Settings = AuthSettings
    stage = Stage.AUTH
    fail_closed = True

    def __init__(self, settings: AuthSettings, service: Service) -> None:
        self._settings = settings
        self._header = settings.header if settings.scheme == "api-key" else "Authorization"
        self._login = Login.of(settings) if settings.scheme == "login" else None
        if self._login is None:
            configured(settings)  # what no header can carry is told here, not at the first request
        else:
            self._tokens = service.shared(Tokens, Tokens)

    @hookimpl
    async def flext_exchange(
        self,
        request: Request,
        send: Callable[[Request], Awaitable[Response]],
        connection: Connection,
    ) -> Response:
        """Send with the credential; after a 401, log in and send once more."""
        if self._header in request.headers:
            return await send(request)
        if self._login is None:
            return await self._sent(request, send)
        token = await self._token(self._login, connection)
        response = await self._sent(request, send, token)
        if response.status_code != 401:
            return response
        self._tokens.discard(self._login, token)
        if not connection.replayable(request):
            return response
        await connection.close(response)  # first: it may hold the pool's only connection
        token = await self._token(self._login, connection)
        return await self._sent(request, send, token)

    async def _sent(
        self,
        request: Request,
        send: Callable[[Request], Awaitable[Response]],
        token: Token | None = None,
    ) -> Response:
        request.headers[self._header] = token.authorization if token else configured(self._settings)
        try:
            return await send(request)
        finally:
            del request.headers[self._header]

    async def _token(self, login: Login, connection: Connection) -> Token:
        async def fetch() -> Token:
            found = self._tokens.get(login)  # again: another flight may have landed since
            return await self._fetched(login, connection) if found is None else found

        token = self._tokens.get(login)
        return await connection.once(login, fetch) if token is None else token

    async def _fetched(self, login: Login, connection: Connection) -> Token:
        started = time.perf_counter()
        try:
            token = await _logged_in(login, connection)
        except Exception:
            duration = time.perf_counter() - started
            connection.emit(events.TokenFetched(login.service, "failed", duration))
            raise
        self._tokens.keep(login, token)
        duration = time.perf_counter() - started
        connection.emit(events.TokenFetched(login.service, "fetched", duration))
        return token


async def _logged_in(login: Login, connection: Connection) -> Token:
    """A new token.

    Raises:
        Refused: the login failed; nothing else goes out, and it is no failure of the target.
        DeadlineExceeded: the call's own time is up.
        ConfigError: a secret cannot be read.
    """
    where = f"the login at {login.service!r}"
    found: Token | str
    try:
        response = await connection.request(login.service, "POST", login.url, json=login.body())
        try:
            if 200 <= response.status_code < 300:
                found = login.token(await connection.read(response))
            else:
                found = f"failed with status {response.status_code}"
        finally:
            await connection.close(response)  # a body that breaks leaves it open
    except (ConfigError, PluginError):
        raise
    except DeadlineExceeded as error:
        if _is_own(error, connection.call):
            raise
        raise Refused(f"{where} took longer than that service may") from error
    except Refused as error:
        raise Refused(f"{where} was refused: {error}", retry_after=error.retry_after) from error
    except Exception as error:
        kind = connection.failure(error)
        raise Refused(f"{where} failed: {kind.value if kind else type(error).__name__}") from error
    if isinstance(found, str):
        raise Refused(f"{where} {found}")
    return found


def _is_own(error: DeadlineExceeded, call: Call | None) -> bool:
    """Whether the call's time is up, and not merely what the login service is given."""
    if call is None or call.deadline is None:
        return False
    inherited = error.call is not None and error.call.deadline == call.deadline
    return inherited or time.monotonic() >= call.deadline
