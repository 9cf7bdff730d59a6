"""A plugin in use, in one world: what `PluginConformance.exercise` is handed."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flext_plugins._host import Host
    from flext_plugins.testing._service import LoopbackService
    from flext_plugins.testing._world import World

T = TypeVar("T")


class Trial:
    """One use of a plugin under test, in one world.

    Attributes:
        world: where.
        host: has one service, `service`, and that has the plugin.
        service: what listens there, and says what the test's `answers` are.
        services: what listens as the services that the plugin's settings name.
        hurried: whether a rule is about to cancel this use or has set it a deadline, so that it may
            wait for what takes long.
    """

    def __init__(
        self,
        world: World,
        host: Host,
        service: LoopbackService,
        services: Mapping[str, LoopbackService],
        *,
        hurried: bool = False,
    ) -> None:
        self.world, self.host, self.service, self.services = world, host, service, services
        self.hurried = hurried

    async def get(self, path: str = "/", **options: Any) -> Any:
        """The answer to a GET; see `send`."""
        return await self.send("GET", path, **options)

    async def send(self, method: str, path: str = "/", **options: Any) -> Any:
        """The library's own answer; options have httpx's names (`content`, `json`, `headers`)."""
        return await self.call(self.world.sender(self.host, method, path, **options))

    async def resource(self, kind: type[T], name: str | None = None) -> T:
        """The resource that the plugin lends."""
        return await self.call(self.world.lender(self.host, kind, name))  # type: ignore[no-any-return]

    async def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """`function(*args, **options)`, awaited if it has to be, such as a resource's method."""
        result = function(*args, **options)
        return await result if inspect.isawaitable(result) else result
