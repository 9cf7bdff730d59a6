"""A directory that answers searches as it is told, since no slapd gives values in ranges."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Entry: TypeAlias = tuple[str, Mapping[str, Sequence[str]]]
"""A DN, and values by attribute."""
Answer: TypeAlias = Callable[[Mapping[str, Any]], tuple[int, Sequence[Entry]]]
"""The result code and the entries for a search, of which it gets `base` and `attributes`."""
BIND, SEARCH = 0x60, 0x63
SUCCESS, BUSY, UNAVAILABLE, UNWILLING, NO_SUCH, NO_RIGHT, OTHER = 0, 51, 52, 53, 32, 50, 80


def ber(tag: int, *parts: bytes) -> bytes:
    """A value in BER, with its length in four bytes."""
    body = b"".join(parts)
    return bytes([tag, 0x84]) + len(body).to_bytes(4, "big") + body


def taken(data: bytes) -> tuple[int, bytes, bytes] | None:
    """The first value's tag, its content, and what follows; `None` while some of it is missing."""
    if len(data) < 2:
        return None
    more = max(data[1] - 0x80, 0)
    size = int.from_bytes(data[2 : 2 + more], "big") if more else data[1]
    end = 2 + more + size
    return (data[0], data[2 + more : end], data[end:]) if len(data) >= end else None


def parts(content: bytes) -> list[tuple[int, bytes]]:
    """The values in a value, each with its tag."""
    found = []
    while (first := taken(content)) is not None:
        tag, value, content = first
        found.append((tag, value))
    return found


def entry(dn: str, attributes: Mapping[str, Sequence[str]]) -> bytes:
    """The message of one entry of a search."""
    listed = [
        ber(0x30, ber(4, name.encode()), ber(0x31, *(ber(4, each.encode()) for each in values)))
        for name, values in attributes.items()
    ]
    return ber(0x64, ber(4, dn.encode()), ber(0x30, *listed))


class ScriptedDirectory:
    """A peer's part in a test: each search is answered by `answer`, each bind accepted."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.url = ""

    def settings(self, **more: Any) -> dict[str, Any]:
        """Settings of the plugin for it."""
        plain = {"starttls": False, "allow_insecure": True}
        return {"url": self.url, "search_base": "dc=x", **plain, **more}

    def serve(self, accepted: socket.socket) -> None:
        """Answer what comes over one connection."""
        data = b""
        while chunk := accepted.recv(65536):
            data += chunk
            while (first := taken(data)) is not None:
                _, message, data = first
                (_, number), (operation, payload), *_ = parts(message)
                for each in self._answers(operation, payload):
                    accepted.sendall(ber(0x30, ber(2, number), each))

    def _answers(self, operation: int, payload: bytes) -> list[bytes]:
        if operation == BIND:
            return [ber(0x61, ber(10, b"\0"), ber(4), ber(4))]
        if operation != SEARCH:
            return []
        fields = [value for _, value in parts(payload)]
        names = [each.decode() for _, each in parts(fields[7])]
        code, entries = self._answer({"base": fields[0].decode(), "attributes": names})
        done = ber(0x65, ber(10, bytes([code])), ber(4), ber(4))
        return [*(entry(*each) for each in entries), done]
