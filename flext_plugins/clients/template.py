"""Requests made from ones that a client made before: parsing and merging are half of a call's cost.

httpx parses a relative URL, joins it to `base_url` and parses the whole, merges headers, cookies
and parameters, and asks the cookie jar about each answer. What came of it is kept for requests that
are nothing but a method and a path, and holds while the client is as it was.
"""

from __future__ import annotations

from http.cookiejar import CookieJar
from inspect import signature
from typing import Any

MOST = 128
"""Templates that a client keeps; a request of one kind after another begins anew."""
_KEY = "_flext_templates"


class Templates:
    """The requests that one client has made, and what it was like then."""

    __slots__ = ("_base_url", "_headers", "_params", "base", "requests")

    def __init__(self, client: Any) -> None:
        self._base_url, self._params = client.base_url, client.params
        self._headers = client.headers.raw
        text = str(client.base_url)
        self.base = text if text.endswith("/") and "#" not in text else None
        self.requests: dict[tuple[str, str], Any] = {}

    def hold(self, client: Any) -> bool:
        """Whether `client` makes the same requests still; its URL and parameters are immutable."""
        return (
            self._base_url is client.base_url
            and self._params is client.params
            and self._headers == client.headers.raw
        )


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
        # What stands behind a question mark may be a secret, and is seldom asked twice.
        simple = "?" not in url and _all_unset(given) and not self.cookies
        if simple and (found := known.requests.get((method, url))) is not None:
            timeout = {"timeout": self.timeout.as_dict()}
            again = make(
                method, found.url, headers=found.headers, stream=found.stream, extensions=timeout
            )
            again.read()
            return again
        path = url
        if known.base and url[:1] == "/" and url[1:2] != "/" and "#" not in url:
            path = known.base + url[1:]
        request = build(self, method, path, **given)
        if simple:
            if len(known.requests) >= MOST:
                known.requests.clear()
            template = make(method, request.url, headers=request.headers, stream=request.stream)
            known.requests[method, url] = template
        return request

    return {"build_request": build_request, "cookies": _cookies(kind, module)}


def _cookies(kind: Any, module: Any) -> property:
    """`kind.cookies`, which asks the jar only about answers that set one, as httpx2 does itself."""

    class Cookies(module.Cookies):  # type: ignore[misc]
        def extract_cookies(self, response: Any) -> None:
            own = type(self.jar).extract_cookies is not CookieJar.extract_cookies
            if own or "set-cookie" in response.headers or "set-cookie2" in response.headers:
                super().extract_cookies(response)

    def cookies(self: Any) -> Any:
        given = kind.cookies.fget(self)
        ours: Any = vars(self).get("_flext_cookies")
        if ours is None or ours.jar is not given.jar:
            ours = vars(self)["_flext_cookies"] = Cookies(given.jar)
        return ours

    return property(cookies, kind.cookies.fset, doc=kind.cookies.__doc__)
