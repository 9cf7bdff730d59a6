"""Sends again whatever the body was."""

from flext_plugins import Stage, hookimpl


class Wrong:
    rule = "test_a_stream_is_never_sent_again"
    seen = ("credentials rejected came out as PluginError: ",)
    stage = Stage.AUTH

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        response = await send(request)
        if response.status_code == 401:
            await connection.close(response)
            response = await send(request)
        return response
