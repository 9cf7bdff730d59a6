"""Starts a thread that goes on."""

import threading
import time

from flext_plugins import hookimpl


class Wrong:
    rule = "test_what_it_makes_is_closed_with_the_connection"
    seen = ("threads still run: refreshing in refresh at threads.py:",)

    @hookimpl
    def flext_connect(self, connection):
        threading.Thread(target=self.refresh, name="refreshing", daemon=True).start()

    def refresh(self):
        time.sleep(2)
