"""Keeps on itself what is one connection's, so that it loses the one before."""

from pathlib import Path

from flext_plugins import hookimpl


class Wrong:
    rule = "test_what_it_makes_is_closed_with_the_connection"
    seen = ("unclosed file",)

    @hookimpl
    def flext_connect(self):
        self.file = Path(__file__).open()  # noqa: SIM115

    @hookimpl
    def flext_disconnect(self):
        self.file.close()
