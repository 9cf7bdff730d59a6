"""Turns to another virtual host."""

from flext_plugins import hookimpl


class Wrong:
    rule = "test_it_keeps_to_the_services_origin"
    seen = ("/own was sent with the header Host: other.example",)

    @hookimpl
    def flext_request(self, request):
        request.headers["Host"] = "other.example"
