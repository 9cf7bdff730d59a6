"""Connecting to a server: its addresses, the socket and TLS."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from .library import ldap3

if TYPE_CHECKING:
    from .session import Session


class Address(NamedTuple):
    """A server's host and port, and its TLS."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    at_once: bool = False
    """Whether TLS begins at once, instead of with StartTLS."""

    @property
    def target(self) -> str:
        """`host:port`, as operations name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class TimedSocket:
    """A socket whose reads and writes end with its session's time."""

    def __init__(self, plain: Any, session: Session) -> None:
        self.plain, self._session = plain, session

    def recv(self, size: int) -> bytes:
        self.plain.settimeout(self._session.remaining())
        data: bytes = self.plain.recv(size)
        return data

    def sendall(self, data: bytes) -> None:
        self._session.has_sent = True
        try:
            self.plain.settimeout(self._session.remaining())
            self.plain.sendall(data)
        finally:
            del data  # it may hold a password: nobody who renders locals shall see it here

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


class VerifyingTls(ldap3.Tls):
    """TLS that has OpenSSL check certificate and host name, which ldap3 alone does not."""

    def __init__(self, address: Address, session: Session) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._address, self._session = address, session

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - ldap3's
        plain = getattr(connection.socket, "plain", connection.socket)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(self._session.remaining())
        context = self._address.tls
        assert context is not None  # noqa: S101 - it is not called without
        wrapped = context.wrap_socket(plain, server_hostname=self._address.host)
        connection.socket = TimedSocket(wrapped, self._session)


class Candidates(ldap3.Server):
    """A server of ldap3's that gives each of its addresses the time that is left."""

    def __init__(self, address: Address, session: Session) -> None:
        tls = VerifyingTls(address, session) if address.tls else None
        super().__init__(
            address.host, address.port, use_ssl=address.at_once, tls=tls, get_info=ldap3.NONE
        )
        self._session = session

    def candidate_addresses(self) -> Any:
        """Yield the addresses in the system's order."""
        for each in super().candidate_addresses():  # type: ignore[no-untyped-call]
            self._session.hang_up()  # of the address before
            self.connect_timeout = self._session.remaining()
            yield each
