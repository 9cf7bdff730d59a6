"""A TCP server on loopback that does with each connection what it is told."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

HOST = "127.0.0.1"


def is_established(sock: socket.socket) -> bool:
    """Whether neither side has closed it, whether this one knows already or not.

    Asked one socket after the other, those that say yes were all open when the first was asked.
    """
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1
    except OSError:  # closed on this side
        return False


class Peer:
    """Accepts until it is closed; a subclass says in `answer` what becomes of a connection.

    Attributes:
        count: how many connections there have been.
        most: how many there were at once.
    """

    def __init__(self) -> None:
        self._server = socket.create_server((HOST, 0))
        self.port: int = self._server.getsockname()[1]
        self.target = f"{HOST}:{self.port}"
        self.most = self.count = 0
        self.ended = threading.Event()
        self._accepted: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def open(self) -> int:
        """How many connections the client has not closed."""
        return sum(map(is_established, self._accepted))

    def answer(self, accepted: socket.socket) -> None:
        """Talk; the connection is closed when it returns."""
        raise NotImplementedError

    def close(self) -> None:
        """Accept nothing more and close all connections."""
        self.ended.set()
        # A thread that waits for one holds the socket open.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for each in self._accepted:
            with suppress(OSError):  # closed by its own thread
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._server.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.count += 1
            self._accepted.append(accepted)
            self.most = max(self.most, self.open)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            self.answer(accepted)
        except OSError:
            pass
        finally:
            accepted.close()
