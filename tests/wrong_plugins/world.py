"""Does its work in event loops only."""

from flext_plugins import hookimpl


class Wrong:
    rule = "test_it_does_the_same_in_all_worlds"
    seen = (
        "world: httpx async, compared with httpx sync",
        "after an answer, service received, as number 1, the header x-tenant: 'acme', and not nothing",
    )

    @hookimpl
    def flext_request(self, request, connection):
        if connection.asynchronous:
            request.headers["X-Tenant"] = "acme"
