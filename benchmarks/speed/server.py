"""Answers every request alike, a POST at more length, as fast as it can, until its input ends."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

BODY = b'{"status": "ok", "items": [1, 2, 3], "name": "flex"}'
"""52 bytes."""
_LINE = b'{"sku": "FLEX-0000", "quantity": 1, "price": 12.5, "currency": "EUR"}'
LONGER = b'{"order": 1, "lines": [' + b", ".join([_LINE] * 14) + b"]}"
"""1,017 bytes, the answer to a POST."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
ANSWERS = HEAD % len(BODY) + BODY, HEAD % len(LONGER) + LONGER
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
END = b"\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection, kept alive."""

    def connection_made(self, transport: Any) -> None:
        self._transport, self._rest = transport, b""

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (end := self._rest.find(END)) >= 0:
            length = LENGTH.search(self._rest, 0, end)
            following = end + len(END) + (int(length[1]) if length else 0)
            if len(self._rest) < following:
                return
            self._transport.write(ANSWERS[self._rest.startswith(b"POST")])
            self._rest = self._rest[following:]


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
