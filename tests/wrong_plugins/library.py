"""Catches one library's errors by their classes."""

import httpx

from flext_plugins import Stage, hookimpl


class Wrong:
    rule = "test_it_imports_no_client_library"
    seen = ("library.py:3 imports httpx",)
    stage = Stage.ATTEMPT

    def __init__(self):
        self.failures = 0

    @hookimpl
    async def flext_exchange(self, request, send):
        try:
            return await send(request)
        except httpx.TransportError:
            self.failures += 1
            raise
