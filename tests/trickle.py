"""A server that answers bit by bit, or begins to and goes silent."""

import socket
import threading
from contextlib import contextmanager, suppress

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def serving(handle, buffer=None):
    """The port of a server that has `handle(peer, over)` speak on each connection.

    `over` is an event: the test has ended. `buffer` is how many bytes it takes in before it reads.
    """
    listener, peers, threads = socket.create_server(("127.0.0.1", 0)), [], []
    if buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    over = threading.Event()

    def serve(peer):
        with peer, suppress(OSError):
            handle(peer, over)

    def accept():
        with suppress(OSError):
            while True:
                peers.append(listener.accept()[0])
                peers[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threads.append(threading.Thread(target=serve, args=(peers[-1],)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        for each in [listener, *peers]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in [accepting, *threads]:
            each.join(5)


def saying(*parts, pause=0.02):
    """The port of a server that answers each request by these bytes, with a pause after each."""

    def answer(peer, over):
        peer.recv(65536)
        for part in parts:
            peer.sendall(part)
            if over.wait(pause):
                return
        over.wait(10)

    return serving(answer)
