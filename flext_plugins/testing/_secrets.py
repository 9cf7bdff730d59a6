"""Secrets in a plugin's settings that are not of the type `Secret`: by their names, and as sent."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from binascii import Error as NoBase64
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, SecretStr

from flext_plugins._config.secrets import leaves
from flext_plugins._config.validation import may_hold_secrets
from flext_plugins.redaction import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flext_plugins.testing._service import LoopbackService, Received

_PARAMETER = re.compile(r'([\w.-]+)\s*=\s*"?([^",;\s]+)')


def open_secrets(model: Any, place: str = "") -> Iterator[str]:
    """The settings that are named like secrets and are plain text, models in them included.

    Lists and tables are judged by what is sent, and so is what is called *credentials*, which may
    be names of those.
    """
    for name, field in model.model_fields.items():
        where = f"{place}{name}"
        kinds = {*_parts(field.annotation)}
        named = is_secret(re.sub("credentials?", "", name, flags=re.IGNORECASE))
        scalar = kinds & {str, bytes} and not kinds & {list, tuple, set, frozenset, dict}
        if named and scalar and not may_hold_secrets(field.annotation):
            yield where
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from open_secrets(kind, f"{where}.")


def _parts(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    yield annotation
    yield getattr(annotation, "__origin__", None)
    for each in get_args(annotation):
        yield from _parts(each)


def plain_credentials(
    settings: Any, services: Iterable[LoopbackService]
) -> Iterator[tuple[str, str]]:
    """The settings of plain text that services received as credentials, and how."""
    plain = {
        str(value): ".".join(place)
        for place, value in leaves(settings)
        if isinstance(value, str) and value and not isinstance(value, SecretStr)
    }
    for service in services:
        for received in service.received:
            for sent, value in _credentials(received):
                if value in plain:
                    yield plain[value], sent


def _credentials(received: Received) -> Iterator[tuple[str, str]]:
    """The credentials in a request, and where each stands."""
    for name, value in received.headers.items():
        if is_secret(name):
            where = f"the header {name}"
            scheme, _, rest = value.partition(" ")
            yield from ((where, each) for each in (value, rest, *_basic(scheme, rest)))
            yield from ((where, v) for key, v in _PARAMETER.findall(value) if is_secret(key))
    for key, value in parse_qsl(urlsplit(received.path).query):
        if is_secret(key):
            yield f"the parameter {key}", value
    yield from _in_body(received.body)


def _basic(scheme: str, rest: str) -> Iterator[str]:
    if scheme.lower() == "basic":
        with suppress(NoBase64, UnicodeDecodeError):
            yield b64decode(rest, validate=True).decode().partition(":")[2]


def _in_body(body: bytes) -> Iterator[tuple[str, str]]:
    text = body.decode("utf-8", "replace")
    try:
        pairs = [(place[-1], value) for place, value in leaves(json.loads(text)) if place]
    except ValueError:
        pairs = parse_qsl(text)
    for key, value in pairs:
        if isinstance(value, str) and is_secret(key):
            yield f"{key} in a body", value
