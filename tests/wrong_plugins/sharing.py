"""Keeps the request under way on itself, where the next one overwrites it."""

from flext_plugins import hookimpl


class Wrong:
    rule = "test_many_threads_and_tasks_use_it_at_once"
    seen = ("got what is caller ",)

    @hookimpl
    def flext_request(self, request):
        self.path = request.url.path

    @hookimpl
    def flext_response(self, response):
        response.headers["X-Path"] = self.path
