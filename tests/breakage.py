"""Servers on loopback that break an exchange at a certain point, and what is left then."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from contextlib import contextmanager, suppress
from time import sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from flext_plugins import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flext_plugins_devstack.certificates import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LONGER = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b"posted"
STALLS = 20
"""Seconds, far more than any time-out."""


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def stall(peer: socket.socket) -> None:
    peer.settimeout(STALLS)
    with suppress(OSError):
        while peer.recv(65536):
            pass


def asked(peer: socket.socket) -> None:
    """Wait for the whole request."""
    data = b""
    while not data.endswith(BODY) and (more := peer.recv(65536)):
        data += more


def tunnelled(peer: socket.socket) -> None:
    """Agree to a proxy's CONNECT."""
    data = b""
    while b"\r\n\r\n" not in data and (more := peer.recv(65536)):
        data += more
    peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def says(data: bytes, then: Callable[[Any], None] = stall) -> Callable[[Any], None]:
    """Answer a whole request with `data`, and what comes `then`."""

    def answer(peer: socket.socket) -> None:
        asked(peer)
        peer.sendall(data)
        then(peer)

    return answer


def closes(peer: socket.socket) -> None:
    peer.close()


def once_heard(then: Callable[[Any], None]) -> Callable[[Any], None]:
    """Do it when a first part has come, of whatever."""

    def hear(peer: socket.socket) -> None:
        peer.recv(65536)
        then(peer)

    return hear


def after_a_while(then: Callable[[Any], None]) -> Callable[[Any], None]:
    """Do it when what was sent has arrived."""

    def wait(peer: socket.socket) -> None:
        sleep(0.3)
        then(peer)

    return wait


def once_asked(then: Callable[[Any], None]) -> Callable[[Any], None]:
    def ask(peer: socket.socket) -> None:
        asked(peer)
        then(peer)

    return ask


def once_tunnelled(then: Callable[[Any], None]) -> Callable[[Any], None]:
    def tunnel(peer: socket.socket) -> None:
        tunnelled(peer)
        then(peer)

    return tunnel


def only_first(then: Callable[[Any], None]) -> Callable[[Any], None]:
    """Answer the first request, and do it at the second one over the same connection."""

    def keep(peer: socket.socket) -> None:
        asked(peer)
        peer.sendall(OK)
        asked(peer)
        then(peer)

    return keep


def garbled(peer: ssl.SSLSocket) -> None:
    """Send what cannot be decrypted."""
    with socket.socket(fileno=peer.detach()) as plain:
        plain.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        stall(plain)


class Event(NamedTuple):
    """What becomes of an exchange, and where on the wire that is."""

    failure: Failure
    act: Callable[[Any], None] | None
    """Treats each connection; `None` if nobody listens."""
    tls: str = ""
    """`wanted` if the client is to begin it, `given` by a server that can, else plain."""
    proxied: str = ""
    """The scheme of what is asked for by a proxy, which is the server."""
    sends: bytes = BODY
    service: dict[str, Any] = {}
    """More of the service's configuration."""
    times: int = 1


C, T, R, P = Failure.CONNECT, Failure.TIMEOUT, Failure.READ, Failure.PROTOCOL
MUCH = b"x" * 30_000_000
EVENTS = {
    "nobody listens": Event(C, None),
    "the name leads nowhere": Event(C, None, service={"base_url": "https://nowhere.invalid"}),
    # TLS
    "TLS is reset at once": Event(C, once_heard(reset), "wanted"),
    "TLS is closed at once": Event(C, once_heard(closes), "wanted"),
    "TLS stalls": Event(C, stall, "wanted"),
    "TLS is answered in clear": Event(
        C, once_heard(lambda peer: peer.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")), "wanted"
    ),
    "TLS is refused": Event(
        C, once_heard(lambda peer: peer.sendall(b"\x15\x03\x01\x00\x02\x02\x28")), "wanted"
    ),
    "a certificate of nobody's": Event(C, stall, "given", service={"verify": True}),
    "a certificate of another host": Event(C, stall, "given", service={"host": "localhost"}),
    "TLS breaks before the answer": Event(R, once_asked(garbled), "given"),
    "TLS breaks in the body": Event(R, says(LONGER, garbled), "given"),
    "TLS is closed before the answer": Event(P, once_asked(closes), "given"),
    # the request
    "it stalls": Event(T, lambda _: sleep(2), sends=MUCH),
    # the answer's head
    "reset before the answer": Event(R, once_asked(reset)),
    "closed before the answer": Event(P, once_asked(closes)),
    "the answer stalls": Event(T, stall),
    "the head stalls": Event(T, says(b"HTTP/1.1 200 OK\r\nX-")),
    "no HTTP": Event(P, says(b"SSH-2.0-OpenSSH\r\n\r\n", closes)),
    "a status that is none": Event(P, says(b"HTTP/1.1 abc OK\r\n\r\n", closes)),
    # Of more than h11's limit and a read: however it arrives, the limit is met before its end.
    "too many headers": Event(P, says(OK[:17] + b"X-Y: z\r\n" * 40_000 + b"\r\n", closes)),
    "a header that is too long": Event(P, says(OK[:17] + b"X: " + b"y" * 200_000 + b"\r\n\r\n")),
    "two lengths": Event(P, says(OK[:17] + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nok")),
    # its body
    "the body is cut": Event(P, says(LONGER, closes)),
    "the body is reset": Event(R, says(LONGER, after_a_while(reset))),
    "the body stalls": Event(T, says(LONGER)),
    "the chunks are none": Event(P, says(CHUNKED + b"zz\r\nok", closes)),
    "a chunk is less than nothing": Event(P, says(CHUNKED + b"-2\r\nok", closes)),
    "the line of a chunk does not end": Event(P, says(CHUNKED + b"0" * 200_000, closes)),
    "a chunk is cut": Event(P, says(CHUNKED + b"9\r\nok", closes)),
    "chunks do not end": Event(P, says(CHUNKED + b"2\r\nok\r\n", closes)),
    "a chunk stalls": Event(T, says(CHUNKED + b"9\r\nok")),
    # a connection that was used before
    "a used one is closed": Event(P, only_first(closes), times=2),
    "a used one is reset": Event(R, only_first(reset), times=2),
    # a proxy
    "no proxy listens": Event(C, None, proxied="http"),
    "no proxy listens for a tunnel": Event(C, None, proxied="https"),
    "the proxy wants to know who asks": Event(
        C, once_heard(lambda peer: peer.sendall(b"HTTP/1.1 407 No\r\n\r\n")), proxied="https"
    ),
    "the proxy stalls": Event(T, stall, proxied="https"),
    "the proxy closes": Event(P, once_heard(closes), proxied="https"),
    "the proxy is reset": Event(R, once_heard(reset), proxied="https"),
    "the proxy speaks no HTTP": Event(
        P, once_heard(lambda peer: peer.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")), proxied="https"
    ),
    "TLS stalls in the tunnel": Event(C, once_tunnelled(stall), proxied="https"),
    "TLS is reset in the tunnel": Event(C, once_tunnelled(once_heard(reset)), proxied="https"),
    "TLS to the proxy stalls": Event(C, stall, "wanted", proxied="https"),
    "the proxy closes after the request": Event(P, once_asked(closes), proxied="http"),
}

UPLOADS = {
    "reset": Event(R, once_heard(reset), sends=MUCH),
    "closed": Event(R, once_heard(closes), sends=MUCH),
    "reset in TLS": Event(R, once_heard(reset), "given", sends=MUCH),
}
"""Uploads that nobody reads to the end; whether that is told as a close or a reset is chance."""


@contextmanager
def breaking(event: Event, ca: Authority) -> Iterator[str]:
    """The `host:port` of a server at which that happens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.server)
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def treat(peer: Any) -> None:
        with suppress(OSError):
            peer.settimeout(STALLS)
            if event.tls == "given":
                peer = context.wrap_socket(peer, server_side=True)
            event.act(peer)
        with suppress(OSError):
            peer.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=treat, args=(listener.accept()[0],)))
                threads[-1].start()

    port = listener.getsockname()[1]
    if event.act is None:
        listener.close()
        yield f"127.0.0.1:{port}"
        return
    threads.append(threading.Thread(target=accept))
    threads[0].start()
    yield f"127.0.0.1:{port}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for each in threads:
        each.join(STALLS)
