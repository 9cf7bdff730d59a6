"""A service's own settings: where it is, how it is reached, and whether that can work."""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic_core import core_schema

from .errors import ConfigError
from .service import PluginInfo, Service, Timeout
from .settings import Address, Basic, Secret, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

    from .config import ServiceConfig
    from .provenance import Place, Where


class ServiceURL(str):
    """A URL where no configured service is, which a plugin may then send to.

    It does so with `connection.request(url.origin, method, url)`. The connection there has the
    `[defaults]` without their headers and, of the plugins for every service, the observers.
    """

    __slots__ = ()

    @property
    def origin(self) -> ServiceURL:
        """Scheme, host and port, which stand for the name of a service."""
        parts = urlsplit(self)
        return ServiceURL(f"{parts.scheme}://{parts.netloc}")

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls._checked, core_schema.str_schema())

    @classmethod
    def _checked(cls, text: str) -> ServiceURL:
        user = None
        if is_http := text.lower().startswith(("http://", "https://")):
            try:
                _, user, _ = Address(text).split()
            except ConfigError:
                is_http = False
        if not is_http or user is not None:
            raise ValueError("expected a URL with http:// or https://, without user and password")
        if "#" in text or " " in text or not (text.isascii() and text.isprintable()):
            raise ValueError("expected a URL without # and with everything else percent-encoded")
        return cls(text)


def reference_problems(
    values: Iterable[tuple[Place, Any]], where: Where, *, inline: bool
) -> Iterator[str]:
    """References that lead nowhere, and secrets that stand in a file."""
    for key, value in values:
        if not isinstance(value, Secret):
            continue
        try:
            value.get_secret_value()
        except ConfigError as error:
            yield where.problem(key, str(error))
        else:
            if not (inline or value.reference or isinstance(value, Address)) and where.in_file(key):
                yield where.problem(
                    key,
                    "a secret stands in the file; write env:NAME or file:/path "
                    "(or say allow_inline_secrets = true)",
                )


def address_of(settings: ServiceConfig) -> tuple[str, bool]:
    """The service's URL without user info, and whether there was any; none if it is wrong."""
    try:
        url, user, _ = settings.base_url.split() if settings.base_url else ("", None, None)
    except ConfigError:  # told by `endpoint_problems`
        return "", False
    return url, user is not None


def endpoint_problems(settings: ServiceConfig, where: Where) -> Iterator[str]:
    """What is wrong with the address and the way to it, before anything is sent."""
    values = {key: getattr(settings, key) for key in ("base_url", "headers", "proxy")}
    yield from reference_problems(leaves(values), where, inline=True)
    yield from _transport_problems(settings, where)
    url, _ = address_of(settings)
    if url and not url.lower().startswith(("http://", "https://")):
        yield where.problem(("base_url",), "expected http:// or https://")
    if "?" in url or "#" in url:
        yield where.problem(("base_url",), "expected neither ? nor #")


def _transport_problems(settings: ServiceConfig, where: Where) -> Iterator[str]:
    """What would only fail when something is sent."""
    verify, cert = settings.verify, settings.cert
    if isinstance(verify, str):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        kind = "capath" if Path(verify).is_dir() else "cafile"
        load = partial(context.load_verify_locations, **{kind: verify})
        yield from _loading("verify", load, "certificates, in PEM", where)
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        chain, key = (cert, None) if isinstance(cert, str) else cert
        load = partial(context.load_cert_chain, chain, key, "")
        yield from _loading("cert", load, "a certificate and its key, in PEM", where)
    if settings.http2 and find_spec("h2") is None:
        yield where.problem(("http2",), "needs `pip install 'httpx[http2]'`")
    with suppress(ConfigError):  # told as a reference that leads nowhere
        proxy = settings.proxy.get_secret_value() if settings.proxy else "http:"
        scheme = proxy.partition(":")[0].lower()
        if scheme not in {"http", "https", "socks5", "socks5h"}:
            yield where.problem(("proxy",), "expected http://, https://, socks5:// or socks5h://")
        elif scheme.startswith("socks") and find_spec("socksio") is None:
            yield where.problem(("proxy",), "needs `pip install 'httpx[socks]'`")


def _loading(key: str, load: Callable[[], None], expected: str, where: Where) -> Iterator[str]:
    try:
        load()
    except FileNotFoundError:
        yield where.problem((key,), "there is no such file")
    except OSError:
        yield where.problem((key,), f"expected a file with {expected}")


def is_plain(settings: ServiceConfig) -> bool:
    """Whether requests could be read on a network, and this has not been allowed."""
    parts = urlsplit(address_of(settings)[0])
    host = parts.hostname or ""
    if parts.scheme != "http" or settings.allow_insecure:
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def service_of(
    name: str,
    settings: ServiceConfig,
    plugins: tuple[PluginInfo, ...],
    provided: Mapping[type, Any],
    shared: Callable[[type, Callable[[], Any]], Any],
) -> Service:
    """The service that plugins see."""
    base, headers = None, dict(settings.headers)
    if settings.base_url is not None:
        base, user, password = settings.base_url.split()
        if user is not None and password is not None:
            headers.setdefault("Authorization", Basic(user, password))
    alike = {"deadline", "verify", "cert", "http2", "proxy", "max_connections", "allow_insecure"}
    return Service(
        name,
        base,
        headers,
        Timeout(*(getattr(settings.timeout, phase) for phase in Timeout._fields)),
        **{each: getattr(settings, each) for each in alike},
        plugins=plugins,
        _provided=provided,
        _shared=shared,
    )
