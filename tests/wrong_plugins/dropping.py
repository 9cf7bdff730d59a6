"""Forgets to await."""

from flext_plugins import Stage, hookimpl


class Wrong:
    rule = "test_what_connection_offers_is_awaited"
    seen = ("connection.sleep was not awaited in flext_exchange at dropping.py:19",)
    stage = Stage.CALL

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        response = await send(request)
        if response.status_code == 503:
            self.pause(connection)
        return response

    def pause(self, connection):
        connection.sleep(0.001)
