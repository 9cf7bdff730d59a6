"""TLS contexts made of files: what the files say now holds for each new connection."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from flext_plugins._connections.log import account
from flext_plugins._logging import tell_stale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flext_plugins._logging import Occasions
    from flext_plugins._runtime import Runtime

SECOND = 1.0
"""The files are looked at once in this time at most."""
MOST = 100
"""Contexts that are kept for each host."""


class FileContext(ssl.SSLContext):
    """A TLS context that is made anew when its files change, and kept while they are not whole.

    The libraries hold this one for as long as they like. Each new connection is made by a context
    within, of which nothing but its connections remains once it has been replaced.

    Args:
        make: makes one of what the files say.
        paths: of files, and of folders of files; links are followed.
        occasions: what was a warning, and when.
    """

    def __new__(cls, *_: object) -> Self:
        """Make one for clients."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(
        self, make: Callable[[], ssl.SSLContext], paths: Iterable[str], occasions: Occasions
    ) -> None:
        self._make, self._paths, self._occasions = make, tuple(paths), occasions
        self._protocols: list[str] = []
        self._lock = Lock()
        self._state = [_state(each) for each in self._paths]  # before they are read
        self._current = make()
        self._next_look = monotonic() + SECOND
        self.check_hostname = self._current.check_hostname  # for those that ask
        self.verify_mode = self._current.verify_mode

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Offer these protocols."""
        self._protocols = [*alpn_protocols]
        self._current.set_alpn_protocols(self._protocols)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Begin TLS on a socket, after a look at the files."""
        self.look()
        return self._current.wrap_socket(*args, **options)

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Begin TLS in memory, after a look at the files; anyio calls this in a thread."""
        self.look()
        return self._current.wrap_bio(*args, **options)

    @property
    def is_due(self) -> bool:
        """Whether it is time for a look at the files."""
        return monotonic() >= self._next_look

    def look(self) -> None:
        """Use what the files say if they have changed and are whole; at most once a second."""
        if self.is_due and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._next_look = monotonic() + SECOND
                self._lock.release()

    def _look(self) -> None:
        state = [_state(each) for each in self._paths]
        if state == self._state:
            return
        try:
            if not all(state):
                raise FileNotFoundError
            made = self._make()
        except (OSError, ValueError) as error:
            tell_stale(self._occasions, ", ".join(self._paths), account(error))
            return
        if self._protocols:
            made.set_alpn_protocols(self._protocols)
        self._current, self._state = made, state


def _state(path: str) -> tuple[object, ...]:
    """Tell whether a file, or one in a folder, is another than before; empty if it is gone."""
    if Path(path).is_dir():
        with suppress(OSError):
            files = sorted(each.path for each in os.scandir(path))
            return tuple((each, _state_of_file(each)) for each in files)
    return _state_of_file(path)


def _state_of_file(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)  # noqa: PTH116 - follows links, as Kubernetes swaps them
    except (OSError, ValueError):
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def shared_context(
    runtime: Runtime,
    library: str,
    default: Callable[[bool], ssl.SSLContext],
    verify: bool | str,  # noqa: FBT001 - as the setting has it
    cert: str | tuple[str, ...] | None,
) -> ssl.SSLContext:
    """Give the host's one context of that client library for these settings; see `context_of`."""
    key = library, verify, cert
    context: ssl.SSLContext | None = runtime.tls.get(key)
    if context is None:
        made = context_of(default, verify, cert, runtime.occasions)
        context = runtime.tls.setdefault(key, made)
        if len(runtime.tls) > MOST:  # sessions of requests name files for each call
            with suppress(RuntimeError):  # another thread adds one just now
                runtime.tls.pop(next(iter(runtime.tls)), None)
    return context


def context_of(
    default: Callable[[bool], ssl.SSLContext],
    verify: bool | str,  # noqa: FBT001 - as the setting has it
    cert: str | tuple[str, ...] | None,
    occasions: Occasions,
) -> ssl.SSLContext:
    """Make the context for these settings, which follows their files if they name any.

    Args:
        default: makes the library's own, which trusts the usual authorities, or anybody.
        verify: as `Service.verify` has it.
        cert: as `Service.cert` has it.
        occasions: what was a warning, and when.

    Raises:
        OSError: a file cannot be used.
    """

    def make() -> ssl.SSLContext:
        if isinstance(verify, bool):
            context = default(verify)
        elif Path(verify).is_dir():
            context = ssl.create_default_context(capath=verify)
        else:
            context = ssl.create_default_context(cafile=verify)
        if cert:
            chain, key = (cert, None) if isinstance(cert, str) else cert
            context.load_cert_chain(chain, key, "")  # or OpenSSL would ask the terminal
        return context

    paths = [verify] if isinstance(verify, str) else []
    paths += [cert] if isinstance(cert, str) else cert or ()
    for each in paths:
        Path(each).stat()  # whose error names the file
    return FileContext(make, paths, occasions) if paths else make()
