"""Starts all servers or none, and stops them together."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .auth import FlextAuth
from .flexcore import FlexCore
from .flext_service import FlextService
from .server import Server

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Devstack:
    """FlexCore, FLEXT Service, flext-auth and an origin that echoes what it was sent, on loopback.

    Args:
        protected: whether /api/ of FlexCore and FLEXT Service demands a token of this flext-auth.
        token_lifetime: seconds.
        default_tenant: the tenant of a login that names none.
        ports: by server name; 0, the default, finds a free one.
        project: the folder of a Meltano project, in which FLEXT Service runs pipelines; by default
            it copies JSON lines.
        meltano: further settings of the plugin `meltano`, for that project.
        plugins: those of FlexCore's connection to FLEXT Service, as configurations have them.

    Raises:
        ValueError: `ports` names an unknown server, or there is no such tenant.
        NotInstalled: a project needs flext-plugins-meltano.
        ConfigError: the project or its settings cannot be used.
    """

    def __init__(
        self,
        *,
        protected: bool = False,
        token_lifetime: float = 3600.0,
        default_tenant: str | None = None,
        ports: Mapping[str, int] | None = None,
        project: Path | str | None = None,
        meltano: Mapping[str, Any] | None = None,
        plugins: Mapping[str, Any] | None = None,
    ) -> None:
        chosen = {"flexcore": 0, "flext-service": 0, "flext-auth": 0, "echo": 0}
        if unknown := set(ports or {}) - set(chosen):
            raise ValueError(
                f"no server {', '.join(sorted(unknown))}; there are {', '.join(chosen)}"
            )
        chosen.update(ports or {})
        self.auth = FlextAuth(chosen["flext-auth"], token_lifetime, default_tenant)
        authority = self.auth if protected else None
        self.flext_service = FlextService(
            chosen["flext-service"],
            authority,
            None if project is None else Path(project),
            meltano,
        )
        self.flexcore = FlexCore(self.flext_service, chosen["flexcore"], authority, plugins)
        self.echo = Server(
            "echo",
            Starlette(routes=[Route("/{path:path}", _echo, methods=METHODS)]),
            chosen["echo"],
        )
        self._servers = (self.auth, self.flext_service, self.flexcore, self.echo)
        self._resources = ExitStack()

    def start(self) -> None:
        """Start all servers, or none.

        Raises:
            OSError: a port is taken; the message names the server and the port.
            RuntimeError: a server did not start in time.
        """
        with ExitStack() as opened:
            for server in self._servers:
                opened.callback(server.close)
                server.up()
            self._resources = opened.pop_all()

    def close(self) -> None:
        """Stop all servers; do nothing the second time.

        Raises:
            RuntimeError: a server did not stop in time; the others were stopped.
        """
        for server in self._servers:
            server.stop_soon()  # together: each takes a quarter of a second
        self._resources.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


async def _echo(request: Request) -> Response:
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "headers": dict(request.headers),
            "body": (await request.body()).decode(errors="replace"),
        }
    )
