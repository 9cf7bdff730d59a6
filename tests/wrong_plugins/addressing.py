"""Takes it that each path is ASCII once it is decoded."""

from hashlib import sha256
from urllib.parse import unquote

from flext_plugins import hookimpl


class Wrong:
    rule = "test_it_is_made_from_its_settings"
    seen = ("the address '/ä?ö' came out as PluginError: ", "raised UnicodeEncodeError at")

    @hookimpl
    def flext_request(self, request):
        path = unquote(request.url.path).encode("ascii")
        request.headers["X-Path-Digest"] = sha256(path).hexdigest()
