"""Oracle's packets as a listener and a relay see them: TNS around, a call of TTC inside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT, ACCEPT, REFUSE, DATA = 1, 2, 4, 6
"""Types of packets."""

COMMIT = re.compile(rb"\x03\x0e.{1,3}\Z", re.DOTALL)
ROLLBACK = re.compile(rb"\x03\x0f.{1,3}\Z", re.DOTALL)
PING = re.compile(rb"\x03\x93.{1,3}\Z", re.DOTALL)
LOGOFF = re.compile(rb"\x03\x09.{1,3}\Z", re.DOTALL)
EXECUTE = re.compile(rb"\x03[\x5e\x04\x4e]")
"""Calls of a client in the content of a packet; a statement with its binds can hold anything, so
`EXECUTE` is for a connection on which nothing else is to match. An execution with autocommit is no
`COMMIT`."""


def packet(kind: int, content: bytes) -> bytes:
    """Put content into a packet, as before a connection is accepted."""
    return (len(content) + 8).to_bytes(2) + bytes([0, 0, kind, 0, 0, 0]) + content


def packets(buffer: bytearray) -> Iterator[bytes]:
    """Take the whole packets out of a buffer."""
    while len(buffer) >= 8:
        # Two bytes until the connection is accepted, four from then on: of these the first two are 0.
        length = int.from_bytes(buffer[:2]) or int.from_bytes(buffer[:4])
        if len(buffer) < length:
            return
        whole = bytes(buffer[:length])
        del buffer[:length]
        yield whole
