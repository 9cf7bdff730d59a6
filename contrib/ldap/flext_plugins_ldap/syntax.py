"""Checks the syntax of DNs and filters, as far as ldap3 can."""

from __future__ import annotations

from .library import LDAPInvalidDnError, encode, ldap3, parse_dn, search_operation


def is_dn(text: str) -> bool:
    """Whether `text` has the form of a DN."""
    try:
        return bool(parse_dn(text))
    except LDAPInvalidDnError:
        return False


def is_filter(text: str) -> bool:
    """Whether `text` has the form of a filter: ldap3 parses some that it cannot encode."""
    try:
        search = search_operation(
            "", text, ldap3.SUBTREE, ldap3.DEREF_ALWAYS, ["1.1"], 0, 0, False, True, True
        )
        encode(search)
    except Exception:
        return False
    return True
