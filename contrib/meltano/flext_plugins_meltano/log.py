"""The logs of Meltano and dbt, which are lines of JSON, read for what they say of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from flext_plugins.redaction import MASK, is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_COMPLAINT = re.compile(r"(?:^|[\s|\"])(?:ERROR|CRITICAL|FATAL)(?=[\s|\":]|$)")
MOST_COMPLAINTS, MOST_NAMES = 100, 1000
"""So many complaints, and names of streams, blocks and tests, are kept of a run."""
LONGEST = 500


class Log:
    """All that a run has said so far, read; secrets in it are masked.

    Args:
        secrets: what is to be masked.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        self.hide([*secrets])
        self.records: dict[str, int] = {}
        self.complaints: list[str] = []
        self.exit_codes: dict[str, int] = {}
        self.failures: list[str] = []
        self.error: str | None = None
        self._last = ""

    def hide(self, values: object) -> None:
        """Mask these as well: texts, those inside tables and lists, and each line of them."""
        lines = (line.strip() for text in texts_in(values) for line in (text, *text.splitlines()))
        known = {*self._secrets, *(each for each in lines if len(each) > 3)}
        self._secrets = sorted(known, key=len, reverse=True)

    def line(self, raw: bytes) -> None:
        """Read one line."""
        text = raw.decode(errors="replace").strip()
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            self._entry(entry)
        elif text:
            self._last = self._shown(text)

    @property
    def reason(self) -> str | None:
        """Why the run failed, as far as it has said."""
        return self.error or (self.complaints[-1] if self.complaints else self._last) or None

    def read_results(self, file: Path) -> None:
        """Read what dbt has written of its run."""
        results: Any = None
        with suppress(OSError, ValueError, RecursionError):
            results = _table(json.loads(file.read_text(encoding="utf-8"))).get("results")
        for each in results if isinstance(results, list) else ():
            is_failure = _table(each).get("status") in {"error", "fail"}
            if is_failure and len(self.failures) < MOST_NAMES:
                self.failures.append(str(_table(each).get("unique_id"))[:LONGEST])

    def _entry(self, entry: dict[str, Any]) -> None:
        metric, info = _table(entry.get("metric_info")), _table(entry.get("info"))
        if metric and not entry.get("consumer"):  # a target counts the same records again
            self._count(metric)
        text = str(entry.get("event") or info.get("msg") or "")
        level = str(entry.get("level") or info.get("level") or "").lower()
        if entry.get("event") == "Block run completed":
            codes = _table(entry.get("exit_codes"))
            told = {str(name): code for name, code in codes.items() if isinstance(code, int)}
            self.exit_codes = dict(islice((self.exit_codes | told).items(), MOST_NAMES))
            if entry.get("success") is False:
                self.error = self._shown(str(entry.get("err") or "a block failed"))
        elif level in {"error", "critical"} or (
            entry.get("stdio") == "stderr" and _COMPLAINT.search(text[:120])
        ):
            name = entry.get("name")
            self._complain(f"{name}: {text}" if isinstance(name, str) else text)

    def _count(self, metric: dict[str, Any]) -> None:
        value = metric.get("value")
        if metric.get("metric") == "record_count" and isinstance(value, int):
            stream = str(_table(metric.get("tags")).get("stream", "records"))[:LONGEST]
            if stream not in self.records and len(self.records) >= MOST_NAMES:
                stream = "records"
            self.records[stream] = self.records.get(stream, 0) + value

    def _complain(self, text: str) -> None:
        if text and len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(self._shown(text))

    def _shown(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return " ".join(text.split())[:LONGEST]


def secrets_in(value: object) -> Iterator[str]:
    """Yield every text in a table that is called like a secret, or stands in what is."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from texts_in(inner) if is_secret(str(name)) else secrets_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from secrets_in(inner)


def texts_in(value: object) -> Iterator[str]:
    """Yield every text in a table, a list or whatever they hold."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts_in(inner)


def _table(value: object) -> dict[str, Any]:
    """`value` if it is a table, else an empty one: a tap may log anything."""
    return value if isinstance(value, dict) else {}
