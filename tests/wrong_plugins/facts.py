"""Reports what only Python understands."""

from flext_plugins import Status, hookimpl


class Wrong:
    rule = "test_its_status_is_plain_and_at_hand"
    seen = ("flext_status returned facts that are no JSON: ['callers']",)

    @hookimpl
    def flext_status(self):
        return Status({"callers": {"ana", "bob"}})
