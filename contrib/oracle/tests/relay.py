"""A relay in front of a server that loses words, answers and connections on request."""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from packets import packets
from peer import HOST, Peer

if TYPE_CHECKING:
    import re

Fault = Literal["cut", "reset", "freeze"]
Way = Literal["sent", "received"]
WAIT = 0.02
"""Seconds until a loop looks again whether it is to end."""


class _Cut(Exception):
    """The connection is to be closed."""


@dataclass
class _Plan:
    """A fault to come: before or after a call, or after bytes to the server or the client."""

    fault: Fault
    before: re.Pattern[bytes] | None
    after: re.Pattern[bytes] | None
    left: dict[Way, int | None]


class Relay(Peer):
    """Passes everything on to `port`, and back.

    Attributes:
        refuses: how many of the next connections it closes at once.
        sent: what the server was sent, of all connections.
        received: what clients were sent.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.refuses = 0
        self.sent, self.received = bytearray(), bytearray()
        self._thawed = threading.Event()
        self._thawed.set()
        self._silent: set[socket.socket] = set()
        self._plan: _Plan | None = None
        self._lock = threading.Lock()
        self._struck = threading.Event()
        super().__init__()

    def freeze(self) -> None:
        """Pass nothing more until `thaw`, of any connection; new ones are accepted."""
        self._thawed.clear()

    def silence(self) -> None:
        """Pass nothing more until `thaw` of the connections that there are."""
        self._silent.update(self._accepted)

    def thaw(self, *, old: bool = True) -> None:
        """Pass on again, and first what has come meanwhile; of `old` ones in `silence` as well."""
        if old:
            self._silent.clear()
        self._thawed.set()

    def cut(self) -> None:
        """Close the connections that there are."""
        for each in [*self._accepted]:
            _shut(each)

    def fail(
        self,
        fault: Fault,
        *,
        before: re.Pattern[bytes] | None = None,
        after: re.Pattern[bytes] | None = None,
        sent: int | None = None,
        received: int | None = None,
    ) -> None:
        """Let one connection be `cut`, or `reset`, or everything freeze, once; give one of these.

        Args:
            fault: what happens.
            before: a call of `packets` that the server is not to get.
            after: a call of `packets` that the server gets, and answers; the answer is lost.
            sent: how many bytes from now on the server still gets.
            received: how many bytes from now on clients still get.
        """
        self._struck.clear()
        self._plan = _Plan(fault, before, after, {"sent": sent, "received": received})

    def wait(self, seconds: float = 10) -> None:
        """Wait until the fault has struck.

        Raises:
            AssertionError: it has not.
        """
        assert self._struck.wait(seconds), f"no fault within {seconds} s"

    def answer(self, accepted: socket.socket) -> None:
        if self.refuses:
            self.refuses -= 1
            return
        with socket.create_connection((HOST, self._to)) as onward:
            onward.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._relay(accepted, onward)
            except _Cut:
                return

    def _relay(self, accepted: socket.socket, onward: socket.socket) -> None:
        buffer = bytearray()
        while not self.ended.is_set():
            if accepted in self._silent:
                self.ended.wait(WAIT)
                continue
            for one in select.select([accepted, onward], [], [], WAIT)[0]:
                self._wait_for_thaw()
                data = one.recv(65536)
                if not data:
                    return
                if one is onward:
                    self._pass("received", data, accepted, accepted)
                    continue
                buffer += data
                for whole in packets(buffer):
                    self._request(whole, accepted, onward)

    def _request(self, whole: bytes, accepted: socket.socket, onward: socket.socket) -> None:
        plan = self._plan
        if plan and plan.before and plan.before.search(whole) and self._claim(plan):
            self._strike(plan, accepted)
        is_after = plan and plan.after and plan.after.search(whole) and self._claim(plan)
        self._pass("sent", whole, onward, accepted)
        if plan and is_after:
            select.select([onward], [], [])  # the server has answered, so it has done it
            self._strike(plan, accepted)

    def _pass(self, way: Way, data: bytes, to: socket.socket, accepted: socket.socket) -> None:
        plan = self._plan
        left = plan.left[way] if plan else None
        if plan and left is not None:
            first, data = data[:left], data[left:]
            plan.left[way] = left - len(first)
            self._deliver(way, first, to)
            if data and self._claim(plan):
                self._strike(plan, accepted)
        self._deliver(way, data, to)

    def _deliver(self, way: Way, data: bytes, to: socket.socket) -> None:
        getattr(self, way).extend(data)
        to.sendall(data)

    def _claim(self, plan: _Plan) -> bool:
        """Whether it is for this connection, and for no other that was about to."""
        with self._lock:
            is_mine = self._plan is plan
            if is_mine:
                self._plan = None
            return is_mine

    def _strike(self, plan: _Plan, accepted: socket.socket) -> None:
        """Let it happen; what was frozen goes on when it is thawed."""
        if plan.fault == "freeze":
            self.freeze()
            self._struck.set()
            self._wait_for_thaw()
            return
        if plan.fault == "reset":
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._struck.set()
        raise _Cut

    def _wait_for_thaw(self) -> None:
        while not self._thawed.wait(WAIT) and not self.ended.is_set():
            pass
        if self.ended.is_set():
            raise _Cut


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # it is closed
        sock.shutdown(socket.SHUT_RDWR)
