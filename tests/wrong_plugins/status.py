"""Reports its token to whoever looks in from outside."""

from pydantic import BaseModel

from flext_plugins import Secret, Stage, Status, hookimpl


class Settings(BaseModel):
    token: Secret


class Wrong:
    rule = "test_its_status_is_plain_and_at_hand"
    seen = ("its facts hold a secret of its settings: ['sends']",)
    settings = {"token": "a-secret-token"}
    Settings = Settings
    stage = Stage.AUTH

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def flext_request(self, request):
        request.headers["Authorization"] = self.settings.token.get_secret_value()

    @hookimpl
    def flext_status(self):
        return Status({"sends": f"Authorization: {self.settings.token.get_secret_value()}"})
