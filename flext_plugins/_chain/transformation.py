"""A plugin's transformation of a body, and whose fault it is when that goes wrong."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flext_plugins._chain.layer import blame, cause_of
from flext_plugins._errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flext_plugins._call import Call
    from flext_plugins._chain.layer import Layer
    from flext_plugins._messages import Start

_HOOK = "transform"


class Blamed:
    """The transformation that `start` begins; its errors name the plugin.

    Args:
        start: the plugin's.
        layer: the plugin.
        service: the name of the service that is talked to.
        call: the call under way.
    """

    def __init__(self, start: Start, layer: Layer, service: str, call: Call | None) -> None:
        self._layer, self._service, self._call = layer, service, call
        with self._blaming():
            self._of_plugin = start()

    def feed(self, chunk: bytes) -> bytes:
        with self._blaming():
            return _checked(self._of_plugin.feed(chunk), "feed")

    def end(self) -> bytes:
        with self._blaming():
            return _checked(self._of_plugin.end(), "end")

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            blamed = blame(error, self._layer, _HOOK, self._service, self._call)
            raise blamed from cause_of(error)


def _checked(data: object, method: str) -> bytes:
    if isinstance(data, bytes):
        return data
    raise PluginError(f"{method} returned {type(data).__name__}, expected bytes", _HOOK)
