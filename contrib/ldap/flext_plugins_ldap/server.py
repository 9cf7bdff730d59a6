"""The servers of a directory: which are there, how they are entered, and who waits for them."""

from __future__ import annotations

import asyncio
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import unquote, urlsplit

from flext_plugins import ConfigError
from flext_plugins.http import Origin

from .errors import AuthenticationFailed, DirectoryError
from .pool import Patience, Pool
from .settings import SCHEMES
from .wire import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import Session
    from .settings import DirectorySettings

T = TypeVar("T")


class Server:
    """One server, asked in the caller's thread, or in threads of its own for an event loop.

    Of its own, so that one that hangs keeps nobody else waiting for a thread.
    """

    def __init__(
        self, address: Address, settings: DirectorySettings, *, asynchronous: bool
    ) -> None:
        self.target = address.target
        self.pool = Pool(address, settings.pool_size, partial(_enter, settings, address.target))
        self._threads: ThreadPoolExecutor | None = None
        self._places = asyncio.Semaphore(settings.pool_size)
        if asynchronous:
            self._threads = ThreadPoolExecutor(settings.pool_size, f"ldap {self.target}")

    async def enter(self, patience: Patience) -> None:
        """Wait for a connection that nobody uses, without a thread that others need to end theirs.

        Raises:
            Exhausted: none became free in time.
        """
        if self._threads is None:  # the pool makes the thread wait
            return
        try:
            async with asyncio.timeout(patience.pool):
                await self._places.acquire()
        except TimeoutError:
            raise self.pool.exhausted() from None

    def leave(self) -> None:
        """Let the next one have it."""
        if self._threads is not None:
            self._places.release()

    async def run(self, work: Callable[[Pool, Patience], T], patience: Patience) -> T:
        """What `work` gives, for somebody who has entered."""
        self.pool.check_open()  # while there are threads
        if self._threads is None:
            return work(self.pool, patience)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, self.pool, patience)

    def close(self) -> None:
        """Close what is idle now, and the rest when it is done."""
        self.pool.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False)


class Servers:
    """Those of a directory: its own in order, and those that they refer to."""

    def __init__(
        self, settings: DirectorySettings, tls: ssl.SSLContext | None, *, asynchronous: bool
    ) -> None:
        self._settings, self._tls, self._asynchronous = settings, tls, asynchronous
        self._known: dict[Origin, Server] = {}
        self._lock = threading.Lock()
        self.own = tuple(self._of(url) for url in settings.url)

    def referred(self, urls: tuple[str, ...]) -> tuple[tuple[Server, str], ...]:
        """The servers among `urls` that may be asked, each with the DN to ask it for, if any."""
        found = []
        for url in urls:
            try:
                origin = Origin.of(url)
            except ValueError:  # a referral need not name a host
                continue
            host, port = origin.host, origin.port
            names = {host, f"{host}:{port}", f"[{host}]:{port}"}
            if origin.scheme in SCHEMES and names & {*self._settings.referral_hosts}:
                found.append((self._of(url), _dn(urlsplit(url).path)))
        return tuple(found)

    def close(self) -> None:
        """Close them all."""
        for server in self._known.values():
            server.close()

    def _of(self, url: str) -> Server:
        origin = Origin.of(url)
        at_once = origin.scheme == "ldaps"
        encrypted = at_once or self._settings.starttls is not False
        port = cast("int", origin.port)  # both schemes have a default
        address = Address(origin.host, port, self._tls if encrypted else None, at_once)
        with self._lock:
            if origin not in self._known:
                made = Server(address, self._settings, asynchronous=self._asynchronous)
                self._known[origin] = made
            return self._known[origin]


def tls(settings: DirectorySettings) -> ssl.SSLContext:
    """What verifies servers.

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
    """Make `session` that of `bind_dn`."""
    if settings.bind_dn is None or settings.bind_password is None:
        return
    try:
        session.bind(settings.bind_dn, settings.bind_password.get_secret_value())
    except AuthenticationFailed:
        code = 49
    except DirectoryError as error:
        if error.code is None or error.code in {51, 52}:
            raise
        code = error.code
    else:
        return
    why = {34: ": bind_dn is no DN there", 49: ": no such account, or another password"}
    raise ConfigError(
        f"{target} does not accept bind_dn with bind_password (code {code}){why.get(code, '')}"
    )


def _dn(path: str) -> str:
    """The DN in a URL of RFC 4516."""
    return unquote(path.removeprefix("/"))
