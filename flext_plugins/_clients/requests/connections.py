"""urllib3's connections, which the watchdog of the exchange under way sees."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from socket import SOCK_STREAM, getaddrinfo
from typing import TYPE_CHECKING, Any

from requests.utils import get_auth_from_url
from urllib3 import exceptions
from urllib3.util import parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr
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
        if self._sock is not None:
            _see(self._sock)


def _see(sock: Any) -> None:
    """Show a socket to the watchdog.

    Raises:
        TimeoutError: it is too late to begin with it.
    """
    watch = _watching.get()
    if watch is not None and not watch.see(sock):
        raise TimeoutError


class WatchedSocks(Watched):
    """A connection by way of a SOCKS proxy, whose socket is seen before anything is said there.

    PySocks would show it when all is said, so it is made here, of PySocks' class.

    Attributes:
        socks_proxy: the proxy's address.
    """

    socks_proxy: SecretStr

    def _new_conn(self) -> Any:
        own: Any = self  # one of urllib3's, with its attributes
        try:
            return self._connected()
        except OSError as error:  # in PySocks' frames the proxy's password stands
            inside = getattr(error, "socket_err", None) or error
            is_late, words = isinstance(inside, TimeoutError), str(inside)
            del inside  # else a circle of references
        if is_late:
            raise exceptions.ConnectTimeoutError(own, "the SOCKS proxy took too long")
        raise exceptions.NewConnectionError(own, f"by way of the SOCKS proxy: {words}")

    def _connected(self) -> Any:
        own: Any = self
        failure = OSError("it has no address")
        host, port = _way(self.socks_proxy)[1:3]
        for family, kind, protocol, *_ in getaddrinfo(host, port, type=SOCK_STREAM):
            sock = sys.modules["socks"].socksocket(family, kind, protocol)
            try:
                for option in own.socket_options or ():
                    sock.setsockopt(*option)
                if own.source_address:
                    sock.bind(own.source_address)
                sock.settimeout(own.timeout)
                sock.set_proxy(*_way(self.socks_proxy))  # in no variable here
                _see(sock)
                sock.connect((own.host.strip("[]"), own.port))
            except BaseException as error:
                sock.close()
                if not isinstance(error, OSError):
                    raise
                failure = error
            else:
                return sock
        try:
            raise failure
        finally:
            del failure  # likewise


def _way(proxy: SecretStr) -> tuple[Any, str, int | None, bool, str, str]:
    """The arguments of PySocks for the proxy at that address; host and port are the second two."""
    address, socks = proxy.get_secret_value(), sys.modules["socks"]
    url = parse_url(address)
    host, scheme = (url.host or "").strip("[]"), url.scheme or ""
    version = socks.SOCKS5 if scheme.startswith("socks5") else socks.SOCKS4
    is_asked_for_names = scheme in {"socks4a", "socks5h"}
    return version, host, url.port, is_asked_for_names, *get_auth_from_url(address)


def watch_connections(manager: PoolManager, proxy: SecretStr | None = None) -> None:
    """Have `manager` make connections that are seen, by urllib3's `pool_classes_by_scheme`.

    Args:
        manager: of connections that are kept.
        proxy: the address of the SOCKS proxy that it takes, if it does.
    """
    kinds = manager.pool_classes_by_scheme
    if proxy is None:
        manager.pool_classes_by_scheme = {each: _watched(kind) for each, kind in kinds.items()}
    else:  # not kept: the proxy's password is in it
        manager.pool_classes_by_scheme = {
            each: _with(WatchedSocks, kind, socks_proxy=proxy) for each, kind in kinds.items()
        }


@cache
def _watched(kind: Any) -> Any:
    return kind if issubclass(kind.ConnectionCls, Watched) else _with(Watched, kind)


def _with(mixin: type, kind: Any, **more: Any) -> Any:
    """The class of a pool with connections of a class of ours, shown as the library's own."""
    connection, place = kind.ConnectionCls, {"__module__": kind.__module__}
    watched = type(connection.__name__, (mixin, connection), {**place, **more})
    return type(kind.__name__, (kind,), {**place, "ConnectionCls": watched})
