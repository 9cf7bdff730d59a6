"""The watchdog of sync calls: it cuts their connections when their time is up.

A thread that waits for the network cannot be interrupted, and a service that keeps sending keeps it
for ever: each part of an answer begins a wait anew, and may be no part that the library shows.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, RLock, Thread
from time import monotonic
from typing import Any

SWITCHED = 101
"""The status after which a connection is no longer HTTP's, but a WebSocket's perhaps."""


class Watchdog:
    """Cuts what is watched at its time, in one thread for all of a host.

    The thread is there while anything is watched, and a little longer: it sleeps until the earliest
    time that it knows, also if that call ends before. So it is seldom woken, and seldom started.

    What has ended is told by the collector as well, which strikes in any thread and under any lock.
    So a watch ends without one: whoever takes it out of the set has it.
    """

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._awaited = inf
        """When the thread looks next."""
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._lock = RLock()  # a collected generator's `finally` may come back here
        self._thread: Thread | None = None
        self._is_closed = False

    def watch(self, at: float) -> Watch:
        """Watch one exchange until `at`, on the clock of `time.monotonic`."""
        watch = Watch(at, self._watches)
        self._watches.add(watch)
        if self._is_closed:
            watch.cut()
        elif at < self._awaited:
            self._awaited = at
            self._rouse()
        return watch

    def close(self) -> None:
        """Cut all that has no answer yet, and end the thread, if no body is read still."""
        self._is_closed = True
        for each in self._watches.copy():
            if not each.outlasts:
                each.cut()
        self._wake.put(None)
        if (thread := self._thread) is not None and not self._watches:
            with suppress(RuntimeError):  # it begins just now
                thread.join(1)

    def renewed(self) -> Watchdog:
        """Give another for a forked child, where what is watched here is let go and not cut."""
        for each in self._watches.copy():
            each.end()
        return Watchdog()

    def _rouse(self) -> None:
        with self._lock:
            if self._thread is not None:
                self._wake.put(None)
                return
            self._thread = Thread(target=self._run, name="flext-plugins deadlines", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter ends, or can have no more; time-outs are left
                self._thread, self._awaited = None, inf

    def _run(self) -> None:
        while self._goes_on():
            now = monotonic()
            for each in self._watches.copy():
                if each.at <= now:
                    each.cut()
            self._awaited = at = min((each.at for each in self._watches.copy()), default=now)
            with suppress(Empty):
                self._wake.get(timeout=min(max(at - now, 0.0), TIMEOUT_MAX))

    def _goes_on(self) -> bool:
        """Whether anything is watched; whoever comes from now on has the thread look again."""
        with self._lock:
            self._awaited = inf
            if not self._watches:
                self._thread = None
            return self._thread is not None


class Watch:
    """The connection of one exchange: cut at its time, unless the exchange ends before.

    It holds a descriptor of its own for that connection. The library's may be closed at any moment,
    and its number be another connection's the next.
    """

    __slots__ = ("_sockets", "_watches", "at", "outlasts")

    def __init__(self, at: float, watches: set[Watch]) -> None:
        self.at, self._watches = at, watches
        self._sockets: list[socket.socket] = []
        self.outlasts = False
        """Whether it ends at its time only, although the host is closed before."""

    def see(self, sock: Any) -> bool:
        """Watch the connection of `sock` from now on, TLS or not, in place of any before it.

        Returns:
            Whether it is time still; else it is cut, and nobody shall begin with it.
        """
        self._release()
        # It may be closed, or none of the system's, or there are no descriptors left.
        with suppress(OSError, ValueError, AttributeError):
            # Of that family or another: what is done with it is the same.
            again = socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)
            self._sockets.append(again)
        if is_late := self not in self._watches:
            self._release(is_cut=True)
        return not is_late

    def tracing(self, also: Any) -> Any:
        """Give an extension `trace` for a request of httpx's, by which each new connection is seen.

        Args:
            also: is told of each step as well, if it is not `None`.
        """

        def trace(event: str, details: dict[str, Any]) -> None:
            if event.endswith("connect_tcp.complete"):
                stream = details["return_value"]
                if not self.see(stream.get_extra_info("socket")):
                    stream.close()
                    raise TimeoutError
            if also is not None:
                also(event, details)

        return trace

    def cut(self) -> None:
        """Cut the connection, so that who waits for it goes on; not once the watch has ended."""
        if self._take():
            self._release(is_cut=True)

    def end(self) -> bool:
        """Watch no more; gives whether it is cut instead, or will be in a moment.

        Who is told so closes the connection, and gives it to no other call.
        """
        is_cut = not self._take()
        self._release()
        return is_cut

    def _take(self) -> bool:
        """Take it out of what is watched, which one thread succeeds in."""
        try:
            self._watches.remove(self)
        except KeyError:
            return False
        return True

    def _release(self, *, is_cut: bool = False) -> None:
        """Close the descriptor of its own."""
        with suppress(IndexError):  # atomic, as above
            while True:
                with self._sockets.pop() as sock, suppress(OSError):  # the peer was first
                    if is_cut:
                        sock.shutdown(socket.SHUT_RDWR)
