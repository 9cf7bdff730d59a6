"""A service's own settings: where it is, how it is reached, and whether that can work."""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flext_plugins._config.proxies import carrier, is_loopback, proxy_for
from flext_plugins._config.secrets import Address, Secret, leaves
from flext_plugins._errors import ConfigError
from flext_plugins.http import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flext_plugins._config.models import ServiceConfig
    from flext_plugins._config.provenance import Place, Where


def reference_problems(
    values: Iterable[tuple[Place, Any]], where: Where, *, inline: bool
) -> Iterator[str]:
    """References that lead nowhere, and secrets that stand in a file."""
    for key, value in values:
        if not isinstance(value, Secret):
            continue
        try:
            value.get_secret_value()
            if isinstance(value, Address) and (pair := value.basic()) is not None:
                pair.get_secret_value()
        except ConfigError as error:
            yield where.problem(key, str(error))
        else:
            if not (inline or value.reference or isinstance(value, Address)) and where.in_file(key):
                yield where.problem(
                    key,
                    "a secret stands in the file; write env:NAME or file:/path "
                    "(or say allow_inline_secrets = true)",
                )


NO_OTHER_PROXY = "over aiohttp a proxy has to be http://"
IGNORED = {"own": ("verify", "cert", "http2", "proxy", "keepalive_expiry")}
"""By transport the settings that it does not heed."""


def beyond_aiohttp(settings: Any) -> tuple[str, str] | None:
    """Find what these settings want that aiohttp cannot do: the setting, and why not.

    Args:
        settings: a `ServiceConfig` or a `Service`.
    """
    if settings.http2:
        return "http2", "aiohttp speaks HTTP/1.1 alone"
    with suppress(ConfigError):  # told as a reference that leads nowhere
        if settings.proxy and not is_plain(settings.proxy.get_secret_value()):
            return "proxy", NO_OTHER_PROXY
    return None


def is_plain(proxy: str) -> bool:
    """Whether the address of a proxy is one that is spoken to in clear.

    To one over TLS aiohttp would show the certificate that is meant for the service.
    """
    return proxy.lower().startswith("http://")


def is_socks(proxy: str) -> bool:
    """Whether the address of a proxy is one that speaks SOCKS."""
    return proxy.lower().startswith("socks")


def address_of(settings: ServiceConfig) -> tuple[str, bool]:
    """The service's URL without user info, and whether there was any; none if it is wrong."""
    try:
        url, user, _ = settings.base_url.split() if settings.base_url else ("", None, None)
    except ConfigError:  # told by `endpoint_problems`
        return "", False
    return url, user is not None


def endpoint_problems(
    settings: ServiceConfig, own: ServiceConfig | None, where: Where
) -> Iterator[str]:
    """Yield the problems of the address and the way to it, before anything is sent.

    Args:
        settings: those that are in force.
        own: what the service says itself.
        where: the places where they stand.
    """
    values = {key: getattr(settings, key) for key in ("base_url", "headers", "proxy")}
    yield from reference_problems(leaves(values), where, inline=True)
    yield from _transport_problems(settings, where)
    if own is not None and "transport" in own.model_fields_set:
        yield from _contradictions(settings, own, where)
    url, _ = address_of(settings)
    if url and not url.lower().startswith(("http://", "https://")):
        yield where.problem(("base_url",), "expected http:// or https://")
    if "?" in url or "#" in url:
        yield where.problem(("base_url",), "expected neither ? nor #")


def _transport_problems(settings: ServiceConfig, where: Where) -> Iterator[str]:
    """Yield the problems that would otherwise show when something is sent."""
    verify, cert = settings.verify, settings.cert
    if isinstance(verify, str):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load = partial(_load_authorities, context, verify)
        yield from _loading("verify", load, "certificates, in PEM", where)
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        chain, key = (cert, None) if isinstance(cert, str) else cert
        load = partial(context.load_cert_chain, chain, key, "")
        yield from _loading("cert", load, "a certificate and its key, in PEM", where)
    if settings.http2 and find_spec("h2") is None:
        yield where.problem(("http2",), "needs `pip install 'httpx[http2]'`")
    if settings.transport == "aiohttp" and find_spec("aiohttp") is None:
        yield where.problem(("transport",), "needs aiohttp: the extra `aiohttp` of flext-plugins")
    with suppress(ConfigError):  # told as a reference that leads nowhere
        proxy = settings.proxy.get_secret_value() if settings.proxy else "http:"
        scheme = proxy.partition(":")[0].lower()
        if scheme not in {"http", "https", "socks5", "socks5h"}:
            yield where.problem(("proxy",), "expected http://, https://, socks5:// or socks5h://")
        elif is_socks(proxy) and find_spec("socksio") is None:
            yield where.problem(("proxy",), "needs `pip install 'httpx[socks]'`")


def _contradictions(settings: ServiceConfig, own: ServiceConfig, where: Where) -> Iterator[str]:
    """Yield what the transport that the service itself names does not heed, or cannot do."""
    for key in IGNORED.get(own.transport, ()):
        if key in own.model_fields_set:
            yield where.problem((key,), f"means nothing with transport = {own.transport!r}")
    if own.transport == "aiohttp" and (beyond := beyond_aiohttp(settings)):
        key, why = beyond
        yield where.problem(("transport",), f"{why}; say {key} = false")


def _load_authorities(context: ssl.SSLContext, verify: str) -> None:
    kind = "capath" if Path(verify).is_dir() else "cafile"
    context.load_verify_locations(**{kind: verify})


def _loading(key: str, load: Callable[[], None], expected: str, where: Where) -> Iterator[str]:
    try:
        load()
    except FileNotFoundError:
        yield where.problem((key,), "there is no such file")
    except (OSError, ValueError):  # the latter of what no path can be
        yield where.problem((key,), f"expected a file with {expected}")


class Exposure(NamedTuple):
    """A way in which others could read credentials for a service, and what closes it."""

    key: str
    """The setting that it comes from."""
    way: str
    remedy: str
    settings: str
    """What the service may say instead."""


def exposure(settings: ServiceConfig) -> Exposure | None:
    """Find how requests could be read on a network, unless this has been allowed."""
    url, _ = address_of(settings)
    if settings.allow_insecure or not url.lower().startswith("http://"):
        return None
    origin = Origin.of(url)
    if not is_loopback(origin.host):
        return Exposure("base_url", "over plain http://", "use https://", "allow_insecure = true")
    try:
        name = carrier(proxy_for(origin, settings.proxy), settings.proxy)
    except ConfigError:  # told as a reference that leads nowhere
        return None
    return by_proxy(name, settings.proxy) if name else None


def by_proxy(name: str, setting: Any) -> Exposure:
    """The exposure of plain requests for this machine by the proxy of that name.

    Args:
        name: as `carrier` has it.
        setting: as `Service.proxy` has it.
    """
    way = f"over plain http:// to the proxy {name}"
    if setting is not None:
        return Exposure("proxy", way, "use https://", "proxy = false, or allow_insecure = true")
    remedy = "name the service's host in no_proxy"
    return Exposure("base_url", way, remedy, "proxy = false, or allow_insecure = true")
