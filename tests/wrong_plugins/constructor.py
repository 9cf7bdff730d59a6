"""Made from the environment, and not from its settings."""

import os

from flext_plugins import hookimpl


class Wrong:
    rule = "test_it_is_made_from_its_settings"

    def __init__(self):
        self.tenant = os.environ["A_TENANT_THAT_NOBODY_SETS"]

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Tenant"] = self.tenant
