"""Gives a service up after some errors, and counts those of an application's tests too."""

from flext_plugins import Refused, Stage, hookimpl


class Wrong:
    rule = "test_it_refuses_nothing_where_nothing_waits"
    seen = ("a caller got ", "the service keeps failing")
    stage = Stage.GUARD

    def __init__(self):
        self.failures = 0

    @hookimpl
    def flext_request(self):
        if self.failures > 3:
            raise Refused("the service keeps failing")

    @hookimpl
    def flext_response(self, response):
        self.failures += response.status_code >= 500
