"""Serves an ASGI application on a loopback port, in a thread, with faults on request."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import cast

import uvicorn
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .fault import Fault

HOST = "127.0.0.1"
FAULTS_PATH = "/devstack/faults"
PATIENCE = 5.0  # seconds that a server gets to start, and to stop


@dataclass(frozen=True)
class Received:
    """A request as it arrived: header names in lower case, `query` without its question mark."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class PortError(OSError):
    """A port cannot be listened on; `server` and `port` say which."""

    def __init__(self, server: str, port: int, cause: OSError) -> None:
        super().__init__(cause.errno, f"{server} cannot listen on {HOST}:{port}: {cause.strerror}")
        self.server = server
        self.port = port


class Server:
    """An ASGI application served by uvicorn on 127.0.0.1.

    Thread-safe, except that `up`, `down` and `close` are for one thread at a time.
    """

    def __init__(self, name: str, app: ASGIApp, port: int = 0) -> None:
        self.name = name
        self.port = port  # 0 until the first up(), then the port that was found
        self._app = app
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._received: list[Received] = []
        self._reservation: socket.socket | None = None
        self._running: tuple[uvicorn.Server, threading.Thread] | None = None

    @property
    def url(self) -> str:
        """The origin, `http://127.0.0.1:PORT`; a RuntimeError before the first start."""
        if self.port == 0:
            raise RuntimeError(f"{self.name} has not been started: it has no port yet")
        return f"http://{HOST}:{self.port}"

    @property
    def received(self) -> list[Received]:
        """A copy of all requests so far, oldest first, including those that met a fault."""
        with self._lock:
            return list(self._received)

    def fault(self, fault: Fault) -> None:
        """Spoil coming requests; if several faults match one, the oldest applies."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def up(self) -> None:
        """Start, and return when connections are accepted; do nothing if it is running.

        Raises:
            PortError: the port is taken.
            RuntimeError: the server did not start within 5 seconds.
        """
        if self._running is not None:
            return
        listener = self._listen()
        server = uvicorn.Server(
            uvicorn.Config(
                self._answer,
                interface="asgi3",
                loop="asyncio",
                http=_Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        thread = threading.Thread(
            target=server.run,
            kwargs={"sockets": [listener]},
            name=f"devstack {self.name}",
            daemon=True,
        )
        thread.start()
        deadline = time.monotonic() + PATIENCE
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                server.should_exit = True
                thread.join(PATIENCE)
                listener.close()
                raise RuntimeError(
                    f"{self.name} did not start on {HOST}:{self.port} within {PATIENCE:g} s"
                )
            time.sleep(0.002)
        self._running = (server, thread)

    def stop_soon(self) -> None:
        """Ask the server to stop, and its connections to close, without waiting for it."""
        if self._running is None:
            return
        server, _ = self._running
        server.should_exit = True

        def drop() -> None:
            for listening in server.servers:
                listening.close()
            for connection in list(server.server_state.connections):
                connection.transport.abort()

        with contextlib.suppress(RuntimeError):  # its loop is closed: it has stopped by itself
            server.servers[0].get_loop().call_soon_threadsafe(drop)

    def down(self) -> None:
        """Stop: open connections are closed, new ones refused until `up` on the same port.

        Raises:
            RuntimeError: the server did not stop within 5 seconds.
        """
        if self._running is None:
            return
        self.stop_soon()
        _, thread = self._running
        thread.join(PATIENCE)
        if thread.is_alive():
            raise RuntimeError(f"{self.name} did not stop within {PATIENCE:g} s")
        self._running = None

    def close(self) -> None:
        """Stop and give the port back; do nothing the second time."""
        try:
            self.down()
        finally:
            if self._reservation is not None:
                self._reservation.close()
                self._reservation = None

    def _listen(self) -> socket.socket:
        try:
            if self._reservation is None:
                self._reservation = bind(self.port)
                self.port = self._reservation.getsockname()[1]
            listener = bind(self.port)
        except OSError as error:
            raise PortError(self.name, self.port, error) from error
        try:
            listener.listen(128)
        except OSError as error:
            listener.close()
            raise PortError(self.name, self.port, error) from error
        return listener

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        if scope["path"] == FAULTS_PATH:
            await self._control(scope["method"], body)(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        query = scope["query_string"].decode("latin-1")
        with self._lock:
            self._received.append(Received(scope["method"], scope["path"], query, headers, body))
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        fault = self._next_fault(scope["path"])
        if fault is None:
            await self._app(scope, replay, send)
        else:
            answer = partial(fault.response() or self._app, scope, replay)
            await fault.spoil(answer, scope["state"]["transport"], receive, send)

    def _next_fault(self, path: str) -> Fault | None:
        with self._lock:
            for index, fault in enumerate(self._faults):
                if path.startswith(fault.path or ""):
                    if fault.times == 1:
                        del self._faults[index]
                    elif fault.times is not None:
                        self._faults[index] = replace(fault, times=fault.times - 1)
                    return fault
        return None

    def _control(self, method: str, body: bytes) -> Response:
        if method == "DELETE":
            self.clear()
            return Response(status_code=204)
        if method != "POST":
            return JSONResponse(
                {"error": "POST a fault, or DELETE them all"}, 405, {"Allow": "POST, DELETE"}
            )
        try:
            fault = Fault(**json.loads(body))
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        self.fault(fault)
        return JSONResponse(asdict(fault), 201)


class _Connection(H11Protocol):
    """Puts the transport into `scope["state"]["transport"]`, so that faults can break it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.app_state = {**self.app_state, "transport": transport}


def bind(port: int = 0) -> socket.socket:
    """Bind a socket to that port on loopback, or to a free one.

    While it does not listen, connections are refused and nobody else is given the port; a server
    that sets SO_REUSEADDR can still listen there.
    """
    # asyncio sets TCP_NODELAY only where the protocol is spelled out; without: 40 ms an answer.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
    except BaseException:
        sock.close()
        raise
    return sock
