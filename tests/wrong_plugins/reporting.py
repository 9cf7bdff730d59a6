"""Takes its time to report."""

import time

from flext_plugins import Status, hookimpl


class Wrong:
    rule = "test_its_status_is_plain_and_at_hand"
    seen = ("it took ",)

    @hookimpl
    def flext_status(self):
        time.sleep(0.06)
        return Status({"slow": True})
