"""A server that answers bit by bit, or begins to and goes silent."""

import socket
import threading
from contextlib import contextmanager

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def saying(*parts, pause=0.02):
    """The port of a server that answers each request by these bytes, with a pause after each."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def serve(peer):
        with peer:
            peer.recv(65536)
            for part in parts:
                try:
                    peer.sendall(part)
                except OSError:
                    return
                if stop.wait(pause):
                    return
            stop.wait(10)

    def accept():
        while not stop.is_set():
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(peer,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in [accepting, *threads]:
            each.join(5)
