"""Appends changes of customers to a file of JSON lines: python customers.py FILE COUNT.

Each is derived from its revision, so every run writes the same; four of each thousand are spoiled.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CUSTOMERS = 2000
"""The first so many changes are new customers; every other one after them changes one of these."""
NAMES = ("Ana  Silva", " Bob Jones", "Chen Wei ", "Dörte   Groß", "Eve O'Hara", "Fatma", "Gil  Ng")
COUNTRIES = ("pt", "US", " cn", "De", "ie ")


def line(revision: int) -> str:
    """A change, written as carelessly as people do, and sometimes spoiled."""
    customer = revision - CUSTOMERS if revision > CUSTOMERS and revision % 2 == 0 else revision
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
    if len(sys.argv) != 3 or not sys.argv[2].isdecimal():
        sys.exit("usage: python customers.py FILE COUNT")
    append(Path(sys.argv[1]), int(sys.argv[2]))
