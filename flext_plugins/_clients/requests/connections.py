"""urllib3's connections, which the watchdog of the exchange under way sees."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import PoolManager

    from flext_plugins._clients.watchdog import Watch

_watching: ContextVar[Watch | None] = ContextVar("flext_plugins.watching", default=None)


@contextmanager
def sending(watch: Watch | None) -> Iterator[None]:
    """Show `watch` what is sent over inside; if that fails, it ends."""
    token = _watching.set(watch)
    try:
        yield
    except BaseException:
        if watch is not None:
            watch.end()
        raise
    finally:
        _watching.reset(token)


class Watched:
    """A connection whose sockets are seen: one that is kept, and each that it makes."""

    _sock: Any = None

    @property
    def sock(self) -> Any:
        """The socket, which urllib3 and http.client set; TLS comes around it later."""
        return self._sock

    @sock.setter
    def sock(self, sock: Any) -> None:
        self._sock = sock
        self._show()

    def putrequest(self, *args: Any, **options: Any) -> None:
        """Begin a request; what sends its headers is no frame of ours."""
        self._show()
        super().putrequest(*args, **options)  # type: ignore[misc]

    @property
    def proxy_is_forwarding(self) -> bool:
        """Whether the proxy is asked for the answer itself; urllib3 looks before TLS begins."""
        self._show()  # http.client takes the end of a connection for that of a proxy's headers
        is_forwarding: bool = super().proxy_is_forwarding  # type: ignore[misc]
        return is_forwarding

    def _show(self) -> None:
        if self._sock is None or (watch := _watching.get()) is None:
            return
        if not watch.see(self._sock):
            raise TimeoutError


def watch_connections(manager: PoolManager) -> None:
    """Have `manager` make connections that are seen, by urllib3's `pool_classes_by_scheme`."""
    classes = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {each: _watched(kind) for each, kind in classes.items()}


@cache
def _watched(kind: Any) -> Any:
    connection = kind.ConnectionCls
    if issubclass(connection, Watched):
        return kind
    watched = type(connection.__name__, (Watched, connection), {"__module__": kind.__module__})
    body = {"ConnectionCls": watched, "__module__": kind.__module__}  # shown as the library's own
    return type(kind.__name__, (kind,), body)
