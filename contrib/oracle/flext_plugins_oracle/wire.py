"""The socket under one connection, so that a silent network can be hung up on."""

from __future__ import annotations

import math
import os
import selectors
import socket
import ssl
import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Iterator

_opening: ContextVar[Wire | None] = ContextVar("flext_plugins_oracle.opening", default=None)
WITHOUT_A_FILE: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""A selector without a file descriptor of its own; Windows has only the second."""
LOOKS = 60.0
"""Seconds after which a watch looks whether it is still wanted, if nobody could tell it."""


class Wire:
    """The socket that the driver opens for one connection.

    The driver shows it to nobody, has no time-out for its handshake, and waits as long as the
    network is silent. Python tells its audit hooks of each socket that connects: so it is found.
    What is kept is a duplicate, which shares the connection and not the driver's state of it.
    """

    def __init__(self) -> None:
        self._own: list[socket.socket] = []
        """The driver's sockets, which it leaves to the collector if connecting fails."""
        self._duplicate: socket.socket | None = None
        self._number = -1
        self._lock, self._process = threading.RLock(), os.getpid()
        self.is_hung_up = False
        self.seconds = 1.0
        """So long the driver may take to connect the socket."""

    @staticmethod
    def current() -> Wire:
        """The wire that is being opened in this context."""
        wire = _opening.get()
        assert wire is not None  # noqa: S101 - sessions are opened nowhere else
        return wire

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Take the sockets that this context connects for those of this wire."""
        _listen()
        token = _opening.set(self)
        try:
            yield
        finally:
            _opening.reset(token)

    def take(self, own: socket.socket) -> None:
        """Take `own` for the socket; another one follows if a listener sends the driver on."""
        with self._lock:
            self._own.append(own)
            duplicate, self._duplicate = self._duplicate, own.dup()
            self._number = own.fileno()
            if duplicate is not None:
                duplicate.close()
        if self.is_hung_up:
            self.hang_up()
        _wires.add(self)

    def wrap(self, own: socket.socket) -> None:
        """Note that the socket goes on as `own`, under TLS."""
        self._own.append(own)

    @property
    def is_stale(self) -> bool:
        """Whether the server has sent something unasked, which means that it is gone."""
        if self._duplicate is None or self.is_hung_up or self._process != os.getpid():
            return True
        selector = WITHOUT_A_FILE()
        selector.register(self._duplicate.fileno(), selectors.EVENT_READ)
        return bool(selector.select(0))

    def hang_up(self) -> None:
        """End the connection at once: whoever waits for its server gets an error. Thread-safe."""
        self.is_hung_up = True
        if self._process != os.getpid():
            return  # the connection is the parent's, and so was whoever held the lock
        with self._lock, suppress(OSError):  # or its number might be another's by now
            if self._duplicate is not None:
                self._duplicate.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all that is open of it, after the driver has closed the connection or given up."""
        self.hang_up()
        with self._lock if self._process == os.getpid() else nullcontext():
            for each in (self._duplicate, *self._own):
                if each is not None:
                    with suppress(OSError):
                        each.close()

    def part(self) -> None:
        """Let go of the parent's connection in a forked child, which would log it off.

        The driver's descriptor is made to lead nowhere, for its objects end by saying goodbye.
        """
        duplicate = self._duplicate
        with suppress(OSError):
            if duplicate is not None and os.path.sameopenfile(self._number, duplicate.fileno()):
                with socket.socket() as nowhere:
                    os.dup2(nowhere.fileno(), self._number)
                duplicate.close()


_wires: WeakSet[Wire] = WeakSet()


def _part_all() -> None:
    for each in list(_wires):
        each.part()
    _wires.clear()


@cache
def _listen() -> None:
    """Have Python tell of sockets that connect, from the first connection on."""
    sys.addaudithook(_notice)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_part_all)


def _notice(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and (wire := _opening.get()) is not None:
        wire.take(args[0])


class Socket(ssl.SSLSocket):
    """TLS's socket, which tells the wire of itself before it speaks."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - Python's
        """Speak TLS first, as always."""
        if (wire := _opening.get()) is not None:
            wire.wrap(self)
        super().do_handshake(block)


class Watch:
    """Hangs up on wires when their time is over: one thread for all the wires of a pool."""

    def __init__(self) -> None:
        self._ends: dict[Wire, float] = {}
        self._wakes = math.inf
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed, self._process = False, os.getpid()

    @contextmanager
    def until(self, wire: Wire, end: float) -> Iterator[None]:
        """Hang up on `wire` if what is inside lasts longer than `end`, on the monotonic clock."""
        if end == math.inf:
            yield
            return
        with self._condition:
            self._ends[wire] = end
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="oracle watch", daemon=True)
                self._thread.start()
            elif end < self._wakes:
                self._condition.notify()
        try:
            yield
        finally:
            with self._condition:
                self._ends.pop(wire, None)
                if self._is_closed:
                    self._condition.notify()

    def close(self) -> None:
        """End the thread, once what it watches is over; do nothing the second time.

        The collector calls it too, under any lock; and as the interpreter ends, when the thread
        stands still for ever, whatever it holds. So nobody waits for the thread here: one that is
        not told looks again by itself.
        """
        if self._is_closed or self._process != os.getpid():  # it is the parent's
            return
        self._is_closed = True
        if self._condition.acquire(blocking=False):
            try:
                self._condition.notify()
            finally:
                self._condition.release()

    def _run(self) -> None:
        with self._condition:
            while self._ends or not self._is_closed:
                now = time.monotonic()
                for wire in [wire for wire, end in self._ends.items() if end <= now]:
                    del self._ends[wire]
                    wire.hang_up()
                self._wakes = min(self._ends.values(), default=math.inf)
                self._condition.wait(min(self._wakes - now, LOOKS))
            self._thread = None
