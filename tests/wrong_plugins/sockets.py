"""Opens a socket, and leaves it to the collector."""

import socket

from flext_plugins import hookimpl


class Wrong:
    rule = "test_what_it_makes_is_closed_with_the_connection"
    seen = ("unclosed <socket.socket ", " at sockets.py:14")

    @hookimpl
    def flext_connect(self, connection):
        self.way = socket.socket()
