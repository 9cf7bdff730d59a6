"""A service to talk to, for the examples: JSON by path, for those who have logged in."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from flext_plugins_devstack import TokenError

if TYPE_CHECKING:
    from flext_plugins_devstack import Devstack


class Protected:
    """Listens on a free loopback port until it goes `down`, and counts what it answers."""

    def __init__(self, stack: Devstack, says: dict[str, Any]) -> None:
        self.statuses: list[int] = []
        statuses = self.statuses

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, said = 200, says[self.path]
                try:
                    stack.auth.authenticate(self.headers["Authorization"])
                except TokenError as error:
                    status, said = 401, {"error": str(error)}
                statuses.append(status)
                body = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def down(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def services(stack: Devstack, name: str, url: str, **auth: Any) -> dict[str, Any]:
    """The configuration: a login at flext-auth and a circuit breaker around the service `name`."""
    login = {"username": "admin", "password": "flexcore100", "body": {"tenant_id": "tenant-1"}}
    plugins = {
        "auth": {"scheme": "login", "service": "flext-auth", **login, **auth},
        "circuit-breaker": {"failure_threshold": 2},
    }
    return {
        "services": {
            "flext-auth": {"base_url": stack.auth.url},
            name: {"base_url": url, "plugins": plugins},
        }
    }
