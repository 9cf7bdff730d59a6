"""Names of tables and columns: checked, and never pasted.

A name is a regular identifier, which is left unquoted and so means the same in any case, or it
stands in double quotes and is meant to the letter; SQLAlchemy's preparer quotes that.
"""

from __future__ import annotations

import re

from sqlalchemy.dialects.oracle.base import RESERVED_WORDS
from sqlalchemy.sql import quoted_name

LONGEST = 128
_REGULAR = re.compile(r"[A-Za-z][A-Za-z0-9_$#]*")
_QUOTED = re.compile(r'"([^"\0]+)"')
_PART = re.compile(r'"[^"\0]+"|[^."]+')


class NameRefused(ValueError):
    """It is no name."""


def identifier(text: object) -> quoted_name:
    """The name that `text` says.

    Raises:
        NameRefused: it is none, too long, or a word that SQL keeps for itself.
    """
    exact = _QUOTED.fullmatch(text) if isinstance(text, str) else None
    if exact is not None and exact[1].isprintable() and len(exact[1].encode()) <= LONGEST:
        return quoted_name(exact[1], quote=True)
    if not isinstance(text, str) or not _REGULAR.fullmatch(text) or len(text) > LONGEST:
        raise NameRefused(
            f"{text!r:.60} is no name: expected a letter and then letters, digits, _, $ or #, "
            'at most 128; any other name in double quotes, such as "My Table"'
        )
    if text.upper() in RESERVED_WORDS:
        raise NameRefused(f"{text!r} is a word of SQL's: as a name it stands in double quotes")
    return quoted_name(text.lower(), quote=False)


def table_name(text: object) -> tuple[quoted_name | None, quoted_name]:
    """The schema, if there is one, and the table that `text` says: `orders`, `sales.orders`.

    Raises:
        NameRefused: as `identifier` does.
    """
    parts = _PART.findall(text) if isinstance(text, str) else []
    if len(parts) == 2 and ".".join(parts) == text:
        return identifier(parts[0]), identifier(parts[1])
    return None, identifier(text)
