"""Keeps its settings on its class, where the next instance overwrites them."""

from pydantic import BaseModel

from flext_plugins import hookimpl


class Settings(BaseModel):
    tenant: str


class Wrong:
    rule = "test_two_services_of_one_host_do_not_mix"
    seen = ("'service' received 'other-tenant', a setting of the other service alone",)
    settings = {"tenant": "acme"}
    Settings = Settings
    tenant = None

    def __init__(self, settings):
        type(self).tenant = settings.tenant

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Tenant"] = self.tenant


class Conformance:
    settings_of_another = {"tenant": "other-tenant"}
