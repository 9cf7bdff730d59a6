"""Keeps every request for ever."""

from flext_plugins import hookimpl


class Wrong:
    rule = "test_it_keeps_nothing_of_every_request"
    seen = ("each of 200 requests left something in memory; self.requests has grown to 2",)

    def __init__(self):
        self.requests = []

    @hookimpl
    def flext_request(self, request):
        self.requests.append(request)
