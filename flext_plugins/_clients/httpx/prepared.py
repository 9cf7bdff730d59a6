"""Requests made from ones that a client made before: parsing and merging are half of a call's cost.

httpx parses a relative URL, joins it to `base_url` and parses the whole, merges headers, cookies
and parameters, and asks the cookie jar about each answer. What came of merging is kept for requests
that are nothing but a method and a path of the own origin, and holds while the client is as it was.
"""

from __future__ import annotations

from http.cookiejar import CookieJar
from inspect import signature
from typing import Any

from flext_plugins.redaction import SECRET_NAME

MOST = 128
"""Addresses that a client keeps parsed."""
_KEY = "_flext_templates"


class Templates:
    """A request for each method, parsed addresses, and what the client was like then."""

    __slots__ = ("_base_url", "_headers", "_is_secret", "_methods", "_origin", "base", "urls")

    def __init__(self, client: Any) -> None:
        self._base_url, self._headers = client.base_url, client.headers.raw
        self._is_secret = any(SECRET_NAME.search(name) for name in client.headers)
        if self._is_secret:  # what is taken off the client must not stay here
            self._headers = []
        base = self._base_url
        text = str(base)
        if base.raw_path == b"/" and not text.endswith("/"):
            text += "/"  # which httpx does not write
        is_plain = base.host and text.startswith("http") and not {"?", "#"} & {*text}
        self.base = text if is_plain and text.endswith("/") else None
        self._origin = base.raw_scheme, base.raw_host, base.port
        self._methods: dict[str, Any] = {}
        self.urls: dict[str, Any] = {}

    def hold(self, client: Any) -> bool:
        """Whether `client` makes the same requests still; its URL is immutable."""
        if self._base_url is not client.base_url:
            return False
        # With a secret among them nothing is made of the headers: they need not be the same.
        return self._is_secret or self._headers == client.headers.raw

    def joined(self, url: str) -> str | None:
        """`url` as an address, if it is a path that needs no more than to be put behind the base.

        Parsed once then, not before and after; any other is the library's to join.
        """
        if self.base and url[:1] == "/" and url[1:2] != "/" and "#" not in url:
            return self.base + url[1:]
        return None

    def of(self, method: str, target: Any, module: Any) -> Any:
        """A request of that method, as the client was then, whatever others do to it meanwhile."""
        found = self._methods.get(method)
        if found is None:
            headers = module.Headers(self._headers)
            found = self._methods[method] = module.Request(method, target, headers=headers)
        return found

    def parsed(self, url: str, module: Any) -> Any:
        """The address that `url` means, if it is the own origin's and surely no secret."""
        found = self.urls.get(url)
        if found is None and not (self._is_secret or "?" in url or "@" in url):
            text = self.joined(url) or url
            if not text.startswith("http"):
                return None
            found = module.URL(text)
            if (found.raw_scheme, found.raw_host, found.port) != self._origin:
                return None
            if len(self.urls) >= MOST:
                self.urls.clear()
            self.urls[url] = found
        return found


def templated(kind: Any, module: Any) -> dict[str, Any]:
    """Methods for a subclass of the client class `kind`; none where `kind` is not httpx's own."""
    if kind not in {module.Client, module.AsyncClient}:
        return {}
    options = signature(kind.build_request).parameters.values()
    nothing = {each.name: each.default for each in options if each.kind is each.KEYWORD_ONLY}
    build, make = kind.build_request, module.Request

    def _all_unset(given: dict[str, Any]) -> bool:
        for name, value in given.items():  # noqa: SIM110 - a generator costs twice as much
            if value is not nothing.get(name, nothing):
                return False
        return True

    def build_request(self: Any, method: str, url: Any, **given: Any) -> Any:
        if type(url) is not str or not url.isprintable():
            return build(self, method, url, **given)
        known: Templates | None = vars(self).get(_KEY)
        if known is None or not known.hold(self):
            known = vars(self)[_KEY] = Templates(self)
        target = None
        if _all_unset(given) and not self.cookies and not self.params:
            target = known.parsed(url, module)
        if target is None:
            return build(self, method, known.joined(url) or url, **given)
        found = known.of(method, target, module)
        timeout = {"timeout": self.timeout.as_dict()}
        again = make(method, target, headers=found.headers, stream=found.stream, extensions=timeout)
        again.read()
        return again

    return {"build_request": build_request, "cookies": _cookies(kind, module)}


def _cookies(kind: Any, module: Any) -> property:
    """`kind.cookies`, which asks the jar only about answers that set one, as httpx2 does itself."""

    class Cookies(module.Cookies):  # type: ignore[misc]
        def __init__(self, given: Any) -> None:
            self.given = given

        @property
        def jar(self) -> Any:
            return self.given.jar

        @jar.setter
        def jar(self, value: Any) -> None:
            self.given.jar = value

        def extract_cookies(self, response: Any) -> None:
            own = type(self.jar).extract_cookies is not CookieJar.extract_cookies
            if own or "set-cookie" in response.headers or "set-cookie2" in response.headers:
                super().extract_cookies(response)

    def cookies(self: Any) -> Any:
        given = kind.cookies.fget(self)
        ours: Any = vars(self).get("_flext_cookies")
        if ours is None or ours.given is not given:
            ours = vars(self)["_flext_cookies"] = Cookies(given)
        return ours

    return property(cookies, kind.cookies.fset, doc=kind.cookies.__doc__)
