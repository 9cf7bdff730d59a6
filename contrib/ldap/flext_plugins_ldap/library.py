"""ldap3, imported without pyasn1's deprecation warnings."""

import warnings

with warnings.catch_warnings():  # ldap3 uses names that pyasn1 has renamed
    warnings.simplefilter("ignore", DeprecationWarning)
    import ldap3
    from ldap3.core.exceptions import (
        LDAPCommunicationError,
        LDAPException,
        LDAPInvalidDnError,
    )
    from ldap3.operation.search import search_operation
    from ldap3.utils.asn1 import encode  # type: ignore[attr-defined]
    from ldap3.utils.dn import parse_dn

__all__ = [
    "LDAPCommunicationError",
    "LDAPException",
    "LDAPInvalidDnError",
    "encode",
    "ldap3",
    "parse_dn",
    "search_operation",
]
