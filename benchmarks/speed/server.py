"""Answers every request alike, as fast as it can, until its standard input ends."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

BODY = b'{"status": "ok", "items": [1, 2, 3], "name": "flex"}'
"""52 bytes."""
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


class Answering(asyncio.Protocol):
    """One connection, kept alive; its requests have no bodies."""

    def connection_made(self, transport: Any) -> None:
        self._transport, self._rest = transport, b""

    def data_received(self, data: bytes) -> None:
        *complete, self._rest = (self._rest + data).split(b"\r\n\r\n")
        if complete:
            self._transport.write(ANSWER * len(complete))


async def serve() -> None:
    """Say the port, and answer."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """With uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        asyncio.run(serve())
    else:
        uvloop.run(serve())


if __name__ == "__main__":
    main()
