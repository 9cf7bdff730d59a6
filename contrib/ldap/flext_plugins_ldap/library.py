"""ldap3, without what pyasn1 has to say about it."""

import warnings

with warnings.catch_warnings():  # of pyasn1, that ldap3 asks it for names which it has renamed
    warnings.simplefilter("ignore", DeprecationWarning)
    import ldap3
    from ldap3.core.exceptions import (
        LDAPCommunicationError,
        LDAPException,
        LDAPInvalidDnError,
        LDAPInvalidFilterError,
    )
    from ldap3.operation.search import parse_filter
    from ldap3.utils.dn import parse_dn

__all__ = [
    "LDAPCommunicationError",
    "LDAPException",
    "LDAPInvalidDnError",
    "LDAPInvalidFilterError",
    "ldap3",
    "parse_dn",
    "parse_filter",
]
