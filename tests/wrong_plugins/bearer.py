"""Sends as a credential what its settings hold as plain text, under a harmless name."""

from pydantic import BaseModel

from flext_plugins import Stage, hookimpl


class Settings(BaseModel):
    word: str
    credentials: frozenset[str] = frozenset({"auth", "tenant"})
    token_name: str = "default"


class Wrong:
    rule = "test_its_secrets_are_of_the_type_secret"
    seen = ("word is plain text, and was sent as the header authorization",)
    settings = {"word": "open-sesame"}
    Settings = Settings
    stage = Stage.AUTH

    def __init__(self, settings):
        self.word = settings.word

    @hookimpl
    def flext_request(self, request):
        request.headers["Authorization"] = f"Bearer {self.word}"


class Conformance:
    not_secret = {"token_name"}
