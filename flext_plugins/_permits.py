"""Permits: so many callers may go on at a time, and the others wait for them in one line."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from flext_plugins._call import inside, late, least, scope
from flext_plugins._errors import PluginError, Refused
from flext_plugins._waiting import Waker, waker
from flext_plugins.events import PermitAwaited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Literal, Self

    from flext_plugins._call import Call

GRACE = 1.0
"""Seconds in which a caller takes what it was granted; those who wait look so often for others."""
REMEMBERED = 1000
"""So many keys are remembered though nobody uses them."""
MOST = 1_000_000
"""Permits of one key."""


class LineFull(Exception):
    """So many wait already that another may not."""


async def _nothing() -> None:
    pass


@contextmanager
def tell_wait(
    emit: Callable[[object], None], plugin: str | None, call: Call | None
) -> Iterator[None]:
    """Tell that `call` waits for a permit of `plugin`, or of the host, and how that ended."""
    started = time.monotonic()
    state: Literal["granted", "timed out", "cancelled"] = "cancelled"
    if call is not None:
        emit = inside(call, emit)
    emit(PermitAwaited(call, plugin, "waiting", 0.0))
    try:
        yield
        state = "granted"
    except TimeoutError:
        state = "timed out"
        raise
    finally:
        emit(PermitAwaited(call, plugin, state, time.monotonic() - started))


class Permits:
    """Lets `capacity` callers go on at a time, in threads and event loops; others stand in line.

    A permit is put back from any thread and under any lock, as the collector does. So `give` and
    `_leave` never wait for the lock: they say what is to be done, and whoever has the lock looks
    again after letting it go.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.in_loops: set[Holding] = set()
        """Those that plugins hold in event loops."""
        self._free = deque([None] * capacity)
        self._owed: deque[None] = deque()
        """One for each permit too many, which is taken and shall not come back."""
        self._line: OrderedDict[Waker, int] = OrderedDict()
        """Those who wait, and their numbers, which never change."""
        self._granted: OrderedDict[Waker, tuple[int, float]] = OrderedDict()
        """Those who have not yet taken what they were granted, their numbers, and since when."""
        self._late: set[Waker] = set()
        """Those in line who did not take it in time, and have not been heard of since."""
        self._gone: deque[Waker] = deque()
        self._numbers = count()
        self._lock = threading.Lock()
        self._is_settled = True

    @property
    def in_use(self) -> int:
        """The number of permits that are taken."""
        return self.capacity + len(self._owed) - len(self._free)

    @property
    def waiting(self) -> int:
        """The number of those in line."""
        return len(self._line)

    def take(self) -> bool:
        """Take a permit if one is free and nobody waits for it."""
        if self._line:
            return False
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def give(self) -> None:
        """Put a permit back, for who is first in line."""
        self._free_one()
        if self._line:
            self._settle()

    def _free_one(self) -> None:
        if self._owed:
            with suppress(IndexError):  # another gave the last one
                self._owed.pop()
                return
        self._free.append(None)

    def resize(self, capacity: int) -> None:
        """Let `capacity` callers go on from now on; those that have permits keep them."""
        more, self.capacity = capacity - self.capacity, capacity
        for _ in range(more):
            self._free_one()
        for _ in range(-more):
            try:
                self._free.pop()
            except IndexError:
                self._owed.append(None)
        if more > 0 and self._line:
            self._settle()

    async def acquire(
        self,
        seconds: float | None,
        queue: int | None = None,
        *,
        asynchronous: bool,
        tidy: Callable[[], Awaitable[None]] = _nothing,
        line: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Take a permit in one's turn.

        Args:
            seconds: to wait at most.
            queue: so many may wait.
            asynchronous: whether this runs in an event loop.
            tidy: frees what nobody uses any more; awaited now and again while there is none free.
            line: what the wait is entered by, if there is one.

        Raises:
            LineFull: none is free, and `queue` callers wait already.
            TimeoutError: none was granted for `seconds`.
        """
        if self.take():
            return
        await tidy()
        until = None if seconds is None else time.monotonic() + seconds
        me = waker(asynchronous=asynchronous)
        try:
            self._join(me, queue)
            if not self._has_taken(me):
                with line():
                    await self._wait(me, until, tidy)
        except BaseException:
            self._leave(me)
            raise

    async def _wait(
        self, me: Waker, until: float | None, tidy: Callable[[], Awaitable[None]]
    ) -> None:
        """Wait until `me` has taken a permit.

        Raises:
            TimeoutError: none was granted.
        """
        while not self._has_taken(me):
            left = GRACE if until is None else min(GRACE, until - time.monotonic())
            if left <= 0:
                raise TimeoutError
            if not await me.wait(left) or me in self._late:
                self._look_around(me)
                await tidy()

    def are_all_in(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether plugins hold all of them in `loop`."""
        return sum(each.loop is loop for each in list(self.in_loops)) >= self.capacity

    def _join(self, me: Waker, queue: int | None) -> None:
        self._take_back()
        with self._lock:
            self._strike_out()
            is_full = queue is not None and not self._free and len(self._line) >= queue
            if is_full and sum(map(self._hears, self._line)) >= (queue or 0):
                raise LineFull
            self._line[me] = next(self._numbers)
        self._settle()

    def _has_taken(self, me: Waker) -> bool:
        """Take what `me` was granted, if anything."""
        with self._lock:
            has_taken = self._granted.pop(me, None) is not None
        if not self._is_settled:
            self._settle()
        return has_taken

    def _look_around(self, me: Waker) -> None:
        """Let `me` be granted a permit again, and see who else cannot be any more."""
        self._take_back()
        self._late.discard(me)
        self._settle()

    def _take_back(self) -> None:
        """Take back what is held in event loops that are closed: nothing goes on there."""
        for each in list(self.in_loops):
            if each.loop is not None and each.loop.is_closed():
                each.release()

    def _leave(self, me: Waker) -> None:
        """Leave the line; what was granted meanwhile goes to the next."""
        self._gone.append(me)
        self._settle()

    def _settle(self) -> None:
        """Grant what is free to those who are first, or let it be done by who is at it."""
        self._is_settled = False
        while not self._is_settled and self._lock.acquire(blocking=False):
            try:
                self._is_settled = True
                if self._gone:
                    self._strike_out()
                if self._granted:
                    self._pass_over()
                self._grant()
            finally:
                self._lock.release()

    def _strike_out(self) -> None:
        """Forget those who have left."""
        while self._gone:
            each = self._gone.popleft()
            self._late.discard(each)
            if self._line.pop(each, None) is None and self._granted.pop(each, None) is not None:
                self._free_one()

    def _pass_over(self) -> None:
        """Take back what was granted to those who do not take it; they keep their place in line."""
        while self._granted:
            each, (number, since) = next(iter(self._granted.items()))
            if not each.is_away and (each.is_here or time.monotonic() - since < GRACE):
                return
            if not each.is_away:
                self._late.add(each)
            behind = [one for one, its in self._line.items() if its > number]
            self._line[each] = number
            for one in behind:
                self._line.move_to_end(one)
            del self._granted[each]
            self._free_one()

    def _grant(self) -> None:
        while self._line and (head := next(iter(self._line))).is_lost:
            del self._line[head]  # or it would keep its task from being collected
        while self._free:
            first = next((each for each in self._line if self._hears(each)), None)
            if first is None:
                return
            try:
                self._free.pop()
            except IndexError:  # somebody took it who had found nobody in line
                return
            self._granted[first] = self._line.pop(first), time.monotonic()
            first.wake()

    def _hears(self, each: Waker) -> bool:
        return each not in self._late and not each.is_away


class Holding:
    """Puts a permit back, once, whoever does it.

    Args:
        permits: of which one was taken.
        loop: where it is held, if that matters.
    """

    __slots__ = ("_permits", "loop")

    def __init__(self, permits: Permits, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._permits, self.loop = [permits], loop
        if loop is not None:
            permits.in_loops.add(self)

    @property
    def is_held(self) -> bool:
        """Whether it has not been put back."""
        return bool(self._permits)

    def is_of(self, permits: Permits) -> bool:
        """Whether one of `permits` is held still."""
        return permits in self._permits

    def release(self) -> None:
        """Put it back."""
        try:
            permits = self._permits.pop()  # atomic: two threads may close one body
        except IndexError:
            return
        if self.loop is not None:
            permits.in_loops.discard(self)
        permits.give()


class Permit:
    """A permit to go on: enter it by `async with`, or `await` it and `release` it.

    One that is dropped comes back when Python collects it.
    """

    __slots__ = ("_acquiring", "_holding")

    def __init__(self, acquiring: Coroutine[Any, Any, Holding | None]) -> None:
        self._acquiring: Coroutine[Any, Any, Holding | None] | None = acquiring
        self._holding: Holding | None = None

    def __await__(self) -> Generator[Any, Any, Self]:
        acquiring, self._acquiring = self._acquiring, None
        if acquiring is None:
            raise PluginError("a permit is awaited once: ask `connection` for another")
        self._holding = yield from acquiring.__await__()
        return self

    def release(self) -> None:
        """Let another caller go on; from any thread or event loop, and once, however often called.

        Raises:
            PluginError: it was never awaited, so that nothing was limited.
        """
        if self._acquiring is not None:
            raise PluginError("a permit was released that nobody had awaited")
        if self._holding is not None:
            self._holding.release()

    def __del__(self) -> None:
        if self._holding is not None:
            self._holding.release()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class KeyedPermits:
    """The permits of one host, by key; one that nobody uses is forgotten after many others."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._by_key: WeakValueDictionary[Hashable, Permits] = WeakValueDictionary()
        self._recent: deque[Permits] = deque(maxlen=REMEMBERED)

    def of(self, key: Hashable, capacity: int) -> Permits:
        """The permits of `key`.

        Raises:
            PluginError: `capacity` is not what it was, or is none.
        """
        permits = self._by_key.get(key)
        if permits is None:
            if not 1 <= capacity <= MOST:
                raise PluginError(f"a permit was asked for with the capacity {capacity}")
            with self._lock:
                permits = self._by_key.get(key)
                if permits is None:
                    permits = self._by_key[key] = Permits(capacity)
                    self._recent.append(permits)
        if permits.capacity != capacity:
            was = permits.capacity
            raise PluginError(f"a permit was asked for with the capacity {capacity}, not {was}")
        return permits


async def hold_nothing() -> None:
    """Let the caller go on, whoever else does."""


async def hold(
    permits: Permits,
    queue: int | None,
    seconds: float | None,
    waiting_for: str,
    tidy: Callable[[], Awaitable[None]],
    line: Callable[[Call | None], AbstractContextManager[None]],
    *,
    asynchronous: bool,
) -> Holding | None:
    """Take one of `permits` for the call under way, unless it holds one in this context already.

    Args:
        permits: of which one is taken.
        queue: so many may wait; any number by default.
        seconds: to wait at most.
        waiting_for: what the error says was waited for.
        tidy: as for `Permits.acquire`.
        line: likewise; it takes the call under way.
        asynchronous: whether this runs in an event loop.

    Raises:
        Refused: so many wait already, none was free for so many `seconds`, or waiting would stop
            the event loop that holds them all.
        DeadlineExceeded: the call's deadline passed while waiting.
    """
    current = scope.get()
    if current is not None and any(each.is_of(permits) for each in current.held):
        return None
    left = current.call.check(waiting_for) if current is not None else None
    loop = asyncio._get_running_loop()  # noqa: SLF001 - documented, in spite of its name
    taken = f"all {permits.capacity} permits are taken"
    if loop is not None and not asynchronous and permits.are_all_in(loop):
        raise Refused(f"{taken} in the event loop of this thread, which waiting would stop")
    wait = least(seconds, left)
    own_line = partial(line, current.call if current is not None else None)
    try:
        await permits.acquire(wait, queue, asynchronous=asynchronous, tidy=tidy, line=own_line)
    except LineFull:
        waiting = f"{queue} callers wait already" if queue else "nobody may wait for one"
        raise Refused(f"{taken}, and {waiting}") from None
    except TimeoutError:
        if current is not None and left is not None and wait == left:
            raise late(current.call, waiting_for) from None
        raise Refused(f"{taken}, and none came back for {seconds:g} s") from None
    holding = Holding(permits, loop if asynchronous else None)
    if current is not None:
        held = (each for each in current.held if each.is_held)
        scope.set(current._replace(held=(*held, holding)))
    return holding
