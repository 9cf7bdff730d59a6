"""Appends changes of customers to a file of JSON lines: python customers.py FILE COUNT.

They follow from their revisions alone, so that every run writes the same; of each thousand four are
spoiled.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FIRST = 2000
"""So many changes are new customers; of those after them every other is of one of these."""
NAMES = ("Ana  Silva", " Bob Jones", "Chen Wei ", "Dörte   Groß", "Eve O'Hara", "Fatma", "Gil  Ng")
COUNTRIES = ("pt", "US", " cn", "De", "ie ")


def line(revision: int) -> str:
    """A change: as careless as people write, and sometimes spoiled."""
    customer = revision - FIRST if revision > FIRST and revision % 2 == 0 else revision
    record: dict[str, Any] = {
        "revision": revision,
        "id": customer,
        "name": NAMES[revision % len(NAMES)],
        "email": f" Customer{customer}@Flext.Test",
        "country": COUNTRIES[revision % len(COUNTRIES)],
    }
    match revision % 1000:
        case 17:
            return "{nonsense"
        case 58:
            del record["id"]
        case 144:
            record["name"] = " "
        case 500:
            record["country"] = "Portugal"
    return json.dumps(record)


def append(file: Path, count: int) -> None:
    """Append so many changes."""
    with file.open("a+", encoding="utf-8") as changes:
        changes.seek(0)
        last = sum(1 for _ in changes)
        changes.writelines(line(last + number) + "\n" for number in range(1, count + 1))


if __name__ == "__main__":
    append(Path(sys.argv[1]), int(sys.argv[2]))
