"""Lends something to be closed, and does not say how."""

from flext_plugins import hookimpl


class Pool:
    def close(self):
        """Give everything back."""


class Wrong:
    rule = "test_what_it_makes_is_closed_with_the_connection"
    seen = ("the Pool that it lends is never closed",)

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Pool, Pool())
