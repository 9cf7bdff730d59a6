"""The part of messages that all client libraries share: the service's headers, the call's id."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from flext_plugins._call import CORRELATION, Call, correlation
from flext_plugins._wire import Messages
from flext_plugins.http import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flext_plugins._service import Service


class ServiceMessages(Messages):
    """The messages of one service.

    Args:
        service: whose headers are added.
        defaults: the headers that a client sends though nobody set them, by lower-case name.
    """

    def __init__(self, service: Service, defaults: Mapping[str, str]) -> None:
        self._service, self._defaults = service, defaults
        self._begun: WeakValueDictionary[int, Any] = WeakValueDictionary()
        """Bodies that can be sent once and have been, by `id`."""
        self._home = Origin.of(service.base_url) if service.base_url else None

    def _is_own(self, url: Any) -> bool:
        """Whether `url` leads to the service's own origin, in any spelling."""
        try:
            return Origin.of(url) == self._home
        except ValueError:
            return False

    @abstractmethod
    def _copy(self, request: Any) -> Any:
        """A clone of a request that is the client's, which must not change in the least."""

    def adopt(self, request: Any, call: Call) -> Any:
        clone = self._copy(request)
        headers = clone.headers
        for name, value in self._service.headers.items():
            if headers.get(name) in (None, self._defaults.get(name.lower())):
                headers[name] = value.get_secret_value()
        if CORRELATION in headers and (own := correlation(headers[CORRELATION])) is not None:
            call.correlation_id = own
        else:
            headers[CORRELATION] = call.correlation_id
        return clone
