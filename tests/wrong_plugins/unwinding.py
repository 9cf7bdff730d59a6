"""Trips over what is not there when sending failed."""

from flext_plugins import Stage, hookimpl


class Wrong:
    rule = "test_cancellation_and_errors_unwind_it"
    seen = (
        "a connection reset came out as PluginError: ",
        "flext_exchange raised AttributeError at unwinding.py:",
    )
    stage = Stage.ATTEMPT

    def __init__(self):
        self.statuses = []

    @hookimpl
    async def flext_exchange(self, request, send):
        response = None
        try:
            response = await send(request)
        except Exception:
            self.statuses.append(response.status_code)
            raise
        return response
