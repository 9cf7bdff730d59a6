"""Reads from a bind's result and the password policy's control why it failed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .errors import AccountExpired, AccountLocked, AuthenticationFailed, InvalidCredentials

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"
"""The password policy's control, without which a locked account looks like a wrong password."""
EXPIRED, LOCKED, RESET = 0, 1, 2
WRONG = frozenset({32, 48, 49, 53})
"""Result codes for a wrong name or password."""


def verdict(result: Mapping[str, Any]) -> AuthenticationFailed | None:
    """The reason why a bind authenticates nobody; `None` if it does, or failed otherwise."""
    control = (result.get("controls") or {}).get(POLICY)
    error = _error(control["value"]) if control and control["value"] else None
    if error == LOCKED:
        return AccountLocked()
    if error in {EXPIRED, RESET}:
        return AccountExpired()
    return InvalidCredentials() if result["result"] in WRONG else None


def _error(value: bytes) -> int | None:
    """The `error` in a control's value (draft-behera-ldap-password-policy, 6.2): a few bytes.

    `SEQUENCE { warning [0] CHOICE OPTIONAL, error [1] ENUMERATED OPTIONAL }`
    """
    rest = value[2:]
    with suppress(IndexError):
        while rest:
            tag, length = rest[0], rest[1]
            if tag == 0x81:
                return rest[2]
            rest = rest[2 + length :]
    return None
