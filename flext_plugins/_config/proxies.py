"""The proxy on the way to a service, and whether it takes plain requests off this machine."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any
from urllib.request import getproxies, proxy_bypass

from flext_plugins.http import Origin


def proxy_for(url: Any, setting: Any = None) -> str | None:
    """The proxy for `url`: the service's own `setting`, else what the environment says now.

    When something is sent, each client library reads the environment in its own way. This is what
    is known before: no proxy where `no_proxy` excepts the host in any of their ways.

    Args:
        url: anything with a scheme, a host and a port.
        setting: as `Service.proxy` has it.
    """
    if setting is not None:
        address: str | None = setting.get_secret_value() if setting else None
        return address
    proxies = getproxies()
    if not proxies or proxy_bypass(f"{url.host}:{url.port}" if url.port else url.host):
        return None
    if any(_is_in(url.host, each.strip()) for each in proxies.get("no", "").split(",")):
        return None
    chosen: str | None = proxies.get(url.scheme) or proxies.get("all")
    return chosen if chosen is None or "://" in chosen else f"http://{chosen}"


def _is_in(host: str, excepted: str) -> bool:
    """Whether an entry of `no_proxy` is the host's address, a range with it or a URL to it."""
    try:
        if "://" in excepted:
            return Origin.of(excepted).host == host
        return ip_address(host) in ip_network(excepted.strip("[]"), strict=False)
    except ValueError:
        return False


def carrier(proxy: str | None, setting: Any) -> str | None:
    """The name of `proxy`, without its user info, if it takes off this machine what is for it.

    One that somebody chose for this service does unless it listens on loopback. The environment's
    does wherever it listens: it is the machine's way out, and one on loopback has another behind
    it.

    Args:
        proxy: its address, as the service, a session or the environment has it.
        setting: as `Service.proxy` has it.
    """
    if not proxy:
        return None
    try:
        origin = Origin.of(proxy if "://" in proxy else f"http://{proxy}")
    except ValueError:
        return "whose address cannot be read"
    is_chosen = setting is not None or proxy not in _of_environment()
    return None if is_chosen and is_loopback(origin.host) else str(origin)


def _of_environment() -> set[str]:
    """The environment's proxies, in both forms that libraries make of them."""
    proxies = {value for name, value in getproxies().items() if name != "no"}
    return proxies | {f"http://{each}" for each in proxies if "://" not in each}


def is_for_this_machine(url: str | None) -> bool:
    """Whether requests to the base URL `url` are plain, and stay here if no proxy takes them."""
    return bool(url) and (origin := Origin.of(url)).scheme == "http" and is_loopback(origin.host)


def is_loopback(host: str) -> bool:
    """Whether the host of an `Origin` is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
