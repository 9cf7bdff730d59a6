"""Ending a wait with the call's deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flext_plugins._call import late
from flext_plugins._errors import DeadlineExceeded, native

if TYPE_CHECKING:
    from types import TracebackType

    from flext_plugins._call import Call


class Limit:
    """Ends what stands inside it with the call's deadline; entered again for each chunk of a body.

    The wait for an answer enters one in `_clients/gate.py`, a body in `_clients/bodies.py` and
    `_clients/requests/bodies.py`, what plugins wait for in `_connections/work.py`.

    `async with` ends it at that moment. `with` cannot: a time-out of the library's does, or the
    `Watchdog` that cuts its connection. Either way what comes of it after the deadline, an error or
    not, is a consequence of that.

    Args:
        call: whose deadline; one without is not limited.
        waiting_for: what the error says was waited for.
        base: what the error has to be as well, where it reaches the application from here.
    """

    __slots__ = ("_base", "_call", "_timeout", "_waiting_for")

    def __init__(self, call: Call, waiting_for: str, base: type[Exception] | None = None) -> None:
        self._call, self._waiting_for, self._base = call, waiting_for, base
        self._timeout: asyncio.Timeout | None = None

    @property
    def _passed(self) -> bool:
        left = self._call.remaining()
        return left is not None and left <= 0

    def _late(self) -> DeadlineExceeded:
        error = late(self._call, self._waiting_for)
        return native(error, self._base) if self._base else error

    def __enter__(self) -> None:
        if self._passed:
            raise self._late()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, DeadlineExceeded):  # it says better what was waited for
            return
        if (error is None or isinstance(error, Exception)) and self._passed:
            raise self._late() from error

    async def __aenter__(self) -> None:
        self.__enter__()
        left = self._call.remaining()
        if left is not None:
            self._timeout = asyncio.timeout(left)
            await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        timeout, self._timeout = self._timeout, None
        try:
            if timeout is not None:
                await timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._late() from None
        self.__exit__(kind, error, trace)
