"""A listener of no database, which refuses or goes silent; it speaks enough of TNS for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packets import ACCEPT, REFUSE, packet, packets
from peer import Peer

if TYPE_CHECKING:
    import socket

VERSION, DATA_UNIT = 315, 8192
"""The oldest that the driver takes, and bytes."""
ACCEPTANCE = VERSION.to_bytes(2) + bytes(2 + 10 + 1 + 9) + DATA_UNIT.to_bytes(4) + bytes(5 + 4)


def refusal(error: int) -> bytes:
    """What a listener says that refuses a client, for the reason with this number of ORA."""
    stack = f"(ERROR_STACK=(ERROR=(CODE={error})(EMFI=4)))"
    text = f"(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR={error}){stack})".encode()
    return packet(REFUSE, b"\x22\x00" + len(text).to_bytes(2) + text)


class Listener(Peer):
    """Waits for what a client wants to connect to, and answers as it is told; then it closes.

    Args:
        refuses: the number of ORA for which it refuses: 12514 is a service that it does not know,
            12505 a SID, 12516 and 12528 a service that takes nobody just now.
        accepts: whether it accepts, instead.
        hears: whether it waits for the client's first words at all.
        stays: whether it stays, without another word, until the client closes or it is closed.
    """

    def __init__(
        self,
        refuses: int | None = None,
        *,
        accepts: bool = False,
        hears: bool = True,
        stays: bool = False,
    ) -> None:
        self._says = b""
        if refuses is not None:
            self._says = refusal(refuses)
        elif accepts:
            self._says = packet(ACCEPT, ACCEPTANCE)
        self._hears, self._stays = hears, stays
        super().__init__()

    def answer(self, accepted: socket.socket) -> None:
        if self._hears:
            buffer = bytearray()
            while not [*packets(buffer)]:
                data = accepted.recv(65536)
                if not data:
                    return
                buffer += data
            accepted.sendall(self._says)
        while self._stays and accepted.recv(65536):
            pass
