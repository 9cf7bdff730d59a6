"""A password that is a plain string, and one in a table of its own."""

from pydantic import BaseModel

from flext_plugins import hookimpl


class Proxy(BaseModel):
    api_key: str = ""


class Settings(BaseModel):
    user: str = "svc"
    password: str = "s3cret"
    token_url: str = "http://127.0.0.1/"
    proxy: Proxy | None = None


class Wrong:
    rule = "test_its_secrets_are_of_the_type_secret"
    seen = ("password, proxy.api_key can hold plain text",)
    Settings = Settings

    @hookimpl
    def flext_request(self, request):
        request.headers["X-User"] = "svc"
