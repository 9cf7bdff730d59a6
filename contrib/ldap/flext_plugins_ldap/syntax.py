"""Checks the syntax of DNs and filters, as far as ldap3 can."""

from __future__ import annotations

from .library import LDAPInvalidDnError, LDAPInvalidFilterError, parse_dn, parse_filter


def is_dn(text: str) -> bool:
    """Whether `text` has the form of a DN."""
    try:
        return bool(parse_dn(text))
    except LDAPInvalidDnError:
        return False


def is_filter(text: str) -> bool:
    """Whether `text` has the form of a filter."""
    try:
        parse_filter(  # type: ignore[no-untyped-call]
            text, None, auto_escape=True, auto_encode=True, validator=None, check_names=False
        )
    except LDAPInvalidFilterError:
        return False
    return True
