"""The servers of a directory, their threads, and the queue for their connections."""

from __future__ import annotations

import asyncio
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast
from urllib.parse import unquote, urlsplit

from flext_plugins import ConfigError
from flext_plugins.http import Origin

from .errors import AuthenticationFailed, DirectoryError, DirectoryUnavailable
from .pool import Pool, Timeouts
from .settings import SCHEMES
from .wire import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import Session
    from .settings import DirectorySettings

T = TypeVar("T")
Report: TypeAlias = "Callable[[str], None] | None"
MOST_SERVERS = 100
"""So many servers are spoken to, those included that others refer to."""


class Server:
    """One server, called in the caller's thread or, for an event loop, in threads of its own.

    With its own threads a server that hangs keeps no other one waiting.
    """

    def __init__(
        self, address: Address, settings: DirectorySettings, report: Report, *, asynchronous: bool
    ) -> None:
        self.target = address.target
        enter = partial(_enter, settings, address.target)
        self.pool = Pool(address, settings.pool_size, enter, report)
        self._threads: ThreadPoolExecutor | None = None
        self._places = asyncio.Semaphore(settings.pool_size)
        if asynchronous:
            self._threads = ThreadPoolExecutor(settings.pool_size, f"ldap {self.target}")

    async def enter(self, timeouts: Timeouts) -> None:
        """Wait for a free connection without holding a thread, which others need to finish.

        Raises:
            Exhausted: none became free in time.
        """
        if self._threads is None:  # the pool makes the thread wait
            return
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            with self.pool.waiting():
                async with asyncio.timeout(timeouts.pool):
                    await self._places.acquire()
        except TimeoutError:
            raise self.pool.exhausted() from None

    def leave(self) -> None:
        """Let the next caller have the connection."""
        if self._threads is not None:
            self._places.release()

    async def run(self, work: Callable[[Pool], T]) -> T:
        """Call `work` with the pool, for a caller that has entered; its result."""
        self.pool.check_open()  # while there are threads
        if self._threads is None:
            return work(self.pool)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, self.pool)

    def close(self) -> None:
        """Close idle connections now, and the others when they are done."""
        self.pool.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False)


class Servers:
    """The servers of a directory: its own in order, and those that they refer to."""

    def __init__(
        self,
        settings: DirectorySettings,
        tls: ssl.SSLContext | None,
        report: Report = None,
        *,
        asynchronous: bool,
    ) -> None:
        self._settings, self._tls, self._asynchronous = settings, tls, asynchronous
        self._report = report
        self._by_origin: dict[Origin, Server] = {}
        self._lock = threading.Lock()
        self.own = tuple(self._of(url) for url in settings.url)

    def referred(self, urls: tuple[str, ...]) -> tuple[tuple[Server, str], ...]:
        """The servers among `urls` that may be used, each with the DN in its URL, if any."""
        servers = []
        for url in urls:
            try:
                origin = Origin.of(url)
            except ValueError:  # a referral need not name a host
                continue
            host, port = origin.host, origin.port
            names = {host, f"{host}:{port}", f"[{host}]:{port}"}
            is_new = origin not in self._by_origin
            if is_new and len(self._by_origin) >= MOST_SERVERS:  # a referral may name any port
                continue
            if origin.scheme in SCHEMES and names & {*self._settings.referral_hosts}:
                servers.append((self._of(url), _dn(urlsplit(url).path)))
        return tuple(servers)

    @property
    def pools(self) -> list[Pool]:
        """The pools of connections to each of them."""
        with self._lock:
            return [each.pool for each in self._by_origin.values()]

    def close(self) -> None:
        """Close all servers."""
        for server in self._by_origin.values():
            server.close()

    def _of(self, url: str) -> Server:
        origin = Origin.of(url)
        at_once = origin.scheme == "ldaps"
        encrypted = at_once or self._settings.starttls is not False
        port = cast("int", origin.port)  # both schemes have a default
        address = Address(origin.host, port, self._tls if encrypted else None, at_once)
        with self._lock:
            if origin not in self._by_origin:
                self._by_origin[origin] = Server(
                    address, self._settings, self._report, asynchronous=self._asynchronous
                )
            return self._by_origin[origin]


def tls(settings: DirectorySettings) -> ssl.SSLContext:
    """The TLS context that verifies servers.

    Raises:
        ConfigError: `ca_file` cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        problem = type(error).__name__
    raise ConfigError(
        "ca_file: expected a file of certificates in PEM, "
        f"cannot read {settings.ca_file!r} ({problem})"
    )


def _enter(settings: DirectorySettings, target: str, session: Session) -> None:
    """Bind `session` to the configured account, if there is one."""
    if settings.bind_dn is None or settings.bind_password is None:
        return
    try:
        session.bind(settings.bind_dn, settings.bind_password)
    except AuthenticationFailed:
        code: int | None = 49
    except DirectoryUnavailable:
        raise
    except DirectoryError as error:
        code = error.code
    else:
        return
    if code is None:
        raise ConfigError("bind_dn and bind_password cannot be sent: one is no valid Unicode")
    why = {34: ": bind_dn is no DN there", 49: ": no such account, or another password"}
    raise ConfigError(
        f"{target} does not accept bind_dn with bind_password (code {code}){why.get(code, '')}"
    )


def _dn(path: str) -> str:
    """The DN in a URL of RFC 4516."""
    return unquote(path.removeprefix("/"))
