"""Servers that keep sending, and never come to an end."""

import zlib

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _nothing(encoding, wbits):
    """A body that is compressed, and has nothing in it."""
    compressor = zlib.compressobj(wbits=wbits)
    start = compressor.compress(b"") + compressor.flush(zlib.Z_FULL_FLUSH)
    head = CHUNKED + b"Content-Encoding: %s\r\n\r\n%x\r\n%s\r\n" % (encoding, len(start), start)
    return head, b"5\r\n\0\0\0\xff\xff\r\n"


FLOODS = {
    "1xx": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "1xx with headers": (b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 20),
    "a status line": (b"HTTP/1.1 200 ", b"O"),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "a chunk's extension": (CHUNKED + b"\r\n1;x=", b"y"),
    "a chunk": (CHUNKED + b"\r\nfffff\r\n", b"x"),
    "trailers": (CHUNKED + b"\r\n1\r\nx\r\n0\r\n", b"X: y\r\n"),
    "a body with a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"x"),
    "a body until the end": (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "gzip of nothing": _nothing(b"gzip", 31),
    "deflate of nothing": _nothing(b"deflate", 15),
}
"""What is sent first, and what again and again."""
RECORD = b"\x16\x03\x03\x3f\xff", b"\x02"
"""A record of a TLS handshake, which is long."""


def flooding(start, again, *, after=0):
    """What speaks so, after so many answers; its pauses are shorter than any time-out."""

    def handle(peer, over):
        for _ in range(after):
            peer.recv(65536)
            peer.sendall(OK)
        peer.recv(65536)
        peer.sendall(start)
        _flood(peer, again, over)

    return handle


def _flood(peer, again, over):
    while not over.wait(0.01):
        peer.sendall(again)


def over_tls(context, start, again):
    """The same over TLS."""

    def handle(peer, over):
        with context.wrap_socket(peer, server_side=True) as tls:
            flooding(start, again)(tls, over)

    return handle


def tunnelling(start, again):
    """A proxy that opens a tunnel to such a server."""

    def handle(peer, over):
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        flooding(start, again)(peer, over)

    return handle


def sipping(peer, over):
    """Read a byte at a time."""
    while not over.wait(0.01) and peer.recv(1):
        pass
