"""Writes one name where a tuple of names belongs, whose letters would be taken for names."""

from flext_plugins import Stage, hookimpl


class Wrong:
    rule = "test_it_is_made_from_its_settings"
    seen = ("after is not a tuple of plugins' names",)
    stage = Stage.GUARD
    after = "circuit-breaker"

    @hookimpl
    async def flext_exchange(self, request, send):
        return await send(request)
