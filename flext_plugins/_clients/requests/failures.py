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


class PoolTimeout(WireError, Timeout):
    """No connection was free in time; requests has no error of its own for that."""


def failure_of(error: BaseException) -> Failure | None:
    """The place on the wire where `error` arose, or `None`."""
    if isinstance(error, PoolTimeout):
        return Failure.POOL
    if isinstance(error, requests.ConnectTimeout):
        return Failure.CONNECT
    if isinstance(error, CALLERS):
        return Failure.CALLER
    if isinstance(error, (Timeout, exceptions.TimeoutError)):
        return Failure.TIMEOUT
    if isinstance(error, (requests.RequestException, exceptions.HTTPError)):
        return _broken(error)
    return None


def _broken(error: BaseException) -> Failure | None:
    """Tell apart by the errors inside it what requests calls a `ConnectionError`."""
    inside: list[Any] = [error]
    for each in inside:
        if isinstance(each, (exceptions.NewConnectionError, exceptions.ConnectTimeoutError)):
            return Failure.CONNECT
        if isinstance(each, exceptions.ReadTimeoutError):
            return Failure.TIMEOUT
        if isinstance(each, ssl.SSLError):
            return Failure.CONNECT if _in_handshake(each) else Failure.READ
        if isinstance(each, (exceptions.IncompleteRead, BadStatusLine)):
            return Failure.PROTOCOL
        if isinstance(each, BrokenPipeError):
            return Failure.WRITE
        if isinstance(each, ConnectionError):
            return Failure.READ
        arguments = each.args if isinstance(each, BaseException) else ()
        inside += [found for found in arguments if isinstance(found, BaseException)]
        inside += [each.reason] if isinstance(each, exceptions.MaxRetryError) else []
    if isinstance(error, (ProxyError, SSLError)):  # no tunnel, a certificate for another name
        return Failure.CONNECT
    broken = any(isinstance(each, exceptions.ProtocolError) for each in inside)
    return Failure.PROTOCOL if broken else None


def _in_handshake(error: ssl.SSLError) -> bool:
    """Whether TLS failed before anything was written; requests has one error for both."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == "do_handshake" for frame, _ in frames)
