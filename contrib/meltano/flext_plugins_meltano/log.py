"""The logs of Meltano and dbt, which are lines of JSON, read for what they say of a run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from flext_plugins.redaction import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_COMPLAINT = re.compile(r"(?:^|[\s|\"])(?:ERROR|CRITICAL|FATAL)(?=[\s|\":]|$)")
MOST_COMPLAINTS = 100
LONGEST = 500
ROLES = {"extractors": "tap", "loaders": "target"}


class Log:
    """All that a run has said so far, read; secrets in it are masked.

    Args:
        secrets: what is to be masked.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        self.hide(secrets)
        self.records: dict[str, int] = {}
        self.complaints: list[str] = []
        self.exit_codes: dict[str, int] = {}
        self.failures: list[str] = []
        self.error: str | None = None
        self._last = ""

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask these as well."""
        known = {*self._secrets, *(each for each in secrets if len(each) > 3)}
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

    def read_results(self, file: Path, since: float) -> None:
        """Read what dbt has written of a run that began at `since`."""
        try:
            if file.stat().st_mtime < since - 1:
                return
            results = json.loads(file.read_text(encoding="utf-8"))["results"]
        except (OSError, ValueError, KeyError):
            return
        for each in results:
            if each.get("status") in {"error", "fail"}:
                self.failures.append(str(each.get("unique_id")))

    def _entry(self, entry: dict[str, Any]) -> None:
        metric = entry.get("metric_info")
        if isinstance(metric, dict):
            self._count(metric)
        text = str(entry.get("event") or (entry.get("info") or {}).get("msg") or "")
        level = str(entry.get("level") or (entry.get("info") or {}).get("level") or "").lower()
        if entry.get("event") == "Block run completed":
            codes = entry.get("exit_codes")
            if isinstance(codes, dict):
                self.exit_codes |= {
                    str(name): code for name, code in codes.items() if isinstance(code, int)
                }
            if entry.get("success") is False:
                self.error = self._shown(str(entry.get("err") or "a block failed"))
        elif level in {"error", "critical"} or (
            entry.get("stdio") == "stderr" and _COMPLAINT.search(text[:120])
        ):
            name = entry.get("name")
            self._complain(f"{name}: {text}" if isinstance(name, str) else text)

    def _count(self, metric: dict[str, Any]) -> None:
        tags, value = metric.get("tags") or {}, metric.get("value")
        if metric.get("metric") == "record_count" and isinstance(value, int):
            stream = str(tags.get("stream", "records"))
            self.records[stream] = self.records.get(stream, 0) + value

    def _complain(self, text: str) -> None:
        if text and len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(self._shown(text))

    def _shown(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return " ".join(text.split())[:LONGEST]
