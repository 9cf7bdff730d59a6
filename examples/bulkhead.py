"""A plugin: so many calls of a service go on at a time, so that a slow one cannot take all threads.

A call goes on until its body is read or closed. Register it, or offer it as an entry point:

host.register(Bulkhead, name="bulkhead")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt, PositiveInt

from flext_plugins import Stage, hookimpl

if TYPE_CHECKING:
    from flext_plugins import Connection, Operation, Permit, Proceed, Request, Response, Send


class BulkheadSettings(BaseModel):
    """Settings: how many calls go on, how many more wait, and for how many seconds."""

    calls: PositiveInt = 10
    queue: NonNegativeInt = 100
    timeout: NonNegativeFloat = 5.0


class Bulkhead:
    """Refuses a call if too many wait already, or if none of those that go on ends in time."""

    Settings = BulkheadSettings
    stage = Stage.GUARD

    def __init__(self, settings: BulkheadSettings) -> None:
        self._settings = settings

    @hookimpl
    async def flext_exchange(
        self, request: Request, send: Send, connection: Connection
    ) -> Response:
        """Send in one's turn, and let the next one go on when the body has ended."""
        permit = await self._permit(connection)
        try:
            response = await send(request)
        except BaseException:  # a cancellation too; its traceback would keep the permit from us
            permit.release()
            raise
        connection.watch(response, lambda *_: permit.release())
        return response

    @hookimpl
    async def flext_operation(
        self, operation: Operation, proceed: Proceed, connection: Connection
    ) -> object:
        """Do the operation in its turn."""
        async with self._permit(connection):
            return await proceed(operation)

    def _permit(self, connection: Connection) -> Permit:
        settings = self._settings
        return connection.permit("calls", settings.calls, settings.queue, settings.timeout)
