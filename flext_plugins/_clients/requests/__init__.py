"""requests.

`client` is the way in, `wire` the way out, `messages` and `bodies` what goes along both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from flext_plugins._clients.requests.client import Adapter, session_class
from flext_plugins._clients.requests.messages import RequestsMessages
from flext_plugins._clients.requests.wire import RequestsWire
from flext_plugins._clients.transports import transport_for
from flext_plugins._errors import ConfigError
from flext_plugins._logging import filter_loggers, redact_value

if TYPE_CHECKING:
    from types import ModuleType

    from flext_plugins._runtime import Runtime
    from flext_plugins._service import Service

SESSION_OPTIONS = frozenset({"auth", "cookies", "headers", "hooks", "max_redirects", "params"})

_URLLIB3_LOGGERS = ("connection", "connectionpool", "poolmanager", "response", "util.retry")


class RequestsLibrary:
    """requests."""

    name = "requests"
    refused: type[Exception] = requests.ConnectionError
    timed_out: type[Exception] = requests.Timeout
    bad_status: type[Exception] = requests.HTTPError

    def __init__(self, module: ModuleType) -> None:
        del module  # there is one
        filter_loggers((f"urllib3.{each}" for each in _URLLIB3_LOGGERS), redact_value)

    def wire(self, service: Service, runtime: Runtime, *, asynchronous: bool) -> RequestsWire:
        """A new way to `service`, with a pool of its own; urllib3 keeps the TLS contexts."""
        del asynchronous
        return RequestsWire(self, service, RequestsMessages(service), runtime)

    def check(self, service: Service, runtime: Runtime, *, asynchronous: bool) -> None:
        """See that the service's transport can serve a session, which has urllib3."""
        del runtime
        transport_for(service, self.name, asynchronous=asynchronous)

    def is_async(self, kind: type) -> bool:
        """Whether a class belongs to an event loop; none of requests' does."""
        del kind
        return False

    def transport(self, kind: type, runtime: Runtime, service: str) -> Any:
        """An adapter through the service's connection."""
        if kind not in {BaseAdapter, HTTPAdapter}:
            raise ConfigError(
                f"cannot make a transport of {kind.__module__}.{kind.__qualname__}: expected "
                "requests.adapters.BaseAdapter"
            )
        return Adapter(runtime, service, self)

    def client(
        self, kind: type, runtime: Runtime, service: Service, options: dict[str, Any]
    ) -> Any:
        """A session of the class `kind` on top of the service's connection."""
        if unknown := options.keys() - SESSION_OPTIONS:
            raise ConfigError(
                f"connect({service.name!r}) does not take {', '.join(sorted(unknown))}: a session "
                f"takes {', '.join(sorted(SESSION_OPTIONS))}, the configuration says the rest"
            )
        session = session_class(kind)()
        session.flext_base_url = service.base_url
        for name, value in options.items():
            current = getattr(session, name)
            if name == "headers" or (isinstance(value, Mapping) and hasattr(current, "update")):
                current.update(value)  # pairs too: requests' own defaults stay
            else:
                setattr(session, name, value)
        adapter = Adapter(runtime, service.name, self)
        session.flext_adapter = adapter
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session


library_of = cache(RequestsLibrary)
