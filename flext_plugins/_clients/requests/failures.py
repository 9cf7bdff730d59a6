"""The failures behind requests' errors, which has one class for many."""

from __future__ import annotations

import ssl
import traceback
from http.client import BadStatusLine
from typing import Any

import requests
from requests.exceptions import (
    ConnectionError as WireError,
)
from requests.exceptions import (
    InvalidHeader,
    InvalidSchema,
    InvalidURL,
    MissingSchema,
    ProxyError,
    SSLError,
    StreamConsumedError,
    Timeout,
    UnrewindableBodyError,
)
from urllib3 import exceptions

from flext_plugins._messages import Failure

CALLERS = (
    *(InvalidURL, InvalidSchema, MissingSchema, InvalidHeader),
    *(StreamConsumedError, UnrewindableBodyError),
)
"""What could not be sent as it was."""
_KINDS: tuple[tuple[Any, Failure], ...] = (
    ((exceptions.NewConnectionError, exceptions.ConnectTimeoutError), Failure.CONNECT),
    ((Timeout, exceptions.TimeoutError, TimeoutError), Failure.TIMEOUT),
    ((exceptions.IncompleteRead, BadStatusLine), Failure.PROTOCOL),
    (BrokenPipeError, Failure.WRITE),
    ((ConnectionError, ssl.SSLError), Failure.READ),
)
"""The kinds of errors inside; an error is of the first that fits."""


class PoolTimeout(WireError, Timeout):
    """No connection was free in time; requests has no error of its own for that."""


def failure_of(error: BaseException) -> Failure | None:
    """The place on the wire where `error` arose, or `None`."""
    if isinstance(error, PoolTimeout):
        return Failure.POOL
    if isinstance(error, requests.ConnectTimeout):
        return Failure.CONNECT
    if not isinstance(error, (requests.RequestException, exceptions.HTTPError)):
        return None
    inside = _inside(error)
    if isinstance(error, CALLERS):  # the headers of an answer may be invalid too
        is_answers = any(isinstance(each, exceptions.InvalidHeader) for each in inside)
        return Failure.PROTOCOL if is_answers else Failure.CALLER
    return _broken(error, inside)


def _inside(error: BaseException) -> list[BaseException]:
    """The error, and all that it was made of, outermost first."""
    inside: list[Any] = [error]
    for each in inside:
        found = [*each.args, getattr(each, "reason", None), each.__cause__]
        inside += [more for more in found if isinstance(more, BaseException) and more not in inside]
    return inside


def _broken(error: BaseException, inside: list[BaseException]) -> Failure | None:
    """Tell apart by the errors inside it what requests calls a `ConnectionError`."""
    if any(_in_handshake(each) for each in inside):
        return Failure.CONNECT
    for each in inside:
        found = next((kind for kinds, kind in _KINDS if isinstance(each, kinds)), None)
        if found is not None:
            return found
    if isinstance(error, (ProxyError, SSLError)):  # no tunnel, a certificate for another name
        return Failure.CONNECT
    broken = any(isinstance(each, exceptions.ProtocolError) for each in inside)
    return Failure.PROTOCOL if broken else None


def _in_handshake(error: BaseException) -> bool:
    """Whether TLS failed before anything was written: urllib3 tells it as if it were an answer."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == "ssl_wrap_socket" for frame, _ in frames)
