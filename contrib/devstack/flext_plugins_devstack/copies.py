"""Copies JSON lines from file to file: pipelines where neither Meltano nor a project is."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from .jobs import Blocks, Dbt, Job, Refusal, Singer

Transform = Callable[[dict[str, Any]], dict[str, Any]]
LONGEST_LINE = 1_048_576
"""Bytes."""
DATA = Path(__file__).with_name("data")
TAPS = {"oracle-db-prod": DATA / "customers.jsonl", "flext-tap-oracle": DATA / "stock.jsonl"}
TARGETS = {
    "data-warehouse": Path("data-warehouse.jsonl"),
    "flext-target-oracle-wms": Path("flext-target-oracle-wms.jsonl"),
}


def _customer(record: dict[str, Any]) -> dict[str, Any]:
    """A customer without stray blanks, whose address and country are in one case."""
    texts = {name: " ".join(v.split()) for name, v in record.items() if isinstance(v, str)}
    cases = {"email": str.lower, "country": str.upper}
    return {**record, **{name: cases.get(name, str)(text) for name, text in texts.items()}}


def _columns(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose fields are named as Oracle names columns."""
    return {name.upper(): value for name, value in record.items()}


TRANSFORMS: dict[str, Transform] = {
    "customer-normalization": _customer,
    "flext-dbt-oracle-wms": _columns,
}


class Copies:
    """Copies one file after the other, in a thread.

    Args:
        folder: where files are whose path is relative.
        taps: the files to read, by the name of a tap.
        targets: the files to write, by the name of a target.
        transforms: what becomes of a record, by name.
    """

    plugin = "json-lines"
    capabilities = ("pipeline_execution", "json_lines")

    def __init__(
        self,
        folder: Path,
        taps: dict[str, Path],
        targets: dict[str, Path],
        transforms: dict[str, Transform],
    ) -> None:
        self._folder, self._taps, self._targets = folder, taps, targets
        self._transforms = transforms
        self._worker = ThreadPoolExecutor(1, "devstack copy")

    def submit(self, job: Job) -> "Copy":
        """Have a job done; it waits for those before it.

        Raises:
            Refusal: a name is not configured, or it takes a project.
        """
        copy = self._prepared(_singer(job))
        self._worker.submit(copy.run)
        return copy

    def close(self) -> None:
        """Wait for the copy that goes on; those that wait do not begin."""
        self._worker.shutdown(cancel_futures=True)

    def _prepared(self, job: Singer) -> "Copy":
        if extra := [name for name in ("config", "catalog", "state") if getattr(job, name)]:
            raise Refusal(f"a copy of JSON lines takes no {' and no '.join(extra)}")
        source = self._folder / _named(self._taps, job.tap, "tap")
        target = self._folder / _named(self._targets, job.target, "target")
        if source.resolve() == target.resolve():
            raise Refusal(f"{job.tap!r:.80} and {job.target!r:.80} are the same file")
        transform: Transform | None = None
        if job.transform is not None:
            transform = _named(self._transforms, job.transform, "transform")
        return Copy(source, target, transform)


class Copy:
    """A copy of one file, and how it stands.

    Attributes:
        id: its id.
    """

    def __init__(self, source: Path, target: Path, transform: Transform | None) -> None:
        self.id = str(uuid4())
        self._source, self._target, self._transform = source, target, transform
        self._state, self._error, self._records = "queued", "", 0
        self._started: float | None = None
        self._duration: float | None = None
        self._is_cancelled = False
        self._lock = threading.Lock()

    def status(self) -> dict[str, Any]:
        """Tell how it stands; `records` are those that the target has."""
        with self._lock:
            duration = self._duration
            if duration is None and self._started is not None:
                duration = time.monotonic() - self._started
            return {
                "execution_id": self.id,
                "status": self._state,
                "records": {self._source.stem: self._records} if self._started else {},
                "error": self._error or None,
                "failures": [],
                "complaints": [],
                "exit_codes": {},
                "duration": duration,
            }

    def cancel(self) -> None:
        """End it after the record that it is at; one that is over stays as it is."""
        with self._lock:
            self._is_cancelled = True
            if self._state == "queued":
                self._state, self._error = "cancelled", "it was ended before it began"

    def run(self) -> None:
        """Do it; what becomes of it is in its status."""
        with self._lock:
            if self._is_cancelled:
                return
            self._state, self._started = "running", time.monotonic()
        state, problem = "succeeded", ""
        try:
            if not self._copy():
                state, problem = "cancelled", "it was ended"
        except OSError as error:
            state, problem = "failed", f"{self._source.name}: {type(error).__name__}"
            with suppress(TypeError):
                problem = f"{Path(error.filename).name}: {error.strerror}"
        except Exception as error:
            state, problem = "failed", str(error)
        with self._lock:
            self._state, self._error = state, problem
            self._duration = time.monotonic() - (self._started or 0.0)

    def _copy(self) -> bool:
        """Whether it came to its end."""
        with self._source.open("rb") as source, self._target.open("wb") as target:
            for number, line in _lines(source):
                if self._is_cancelled:
                    return False
                try:
                    record = _record(line)
                    made = json.dumps(self._transform(record) if self._transform else record)
                except Exception as error:
                    why = str(error) or type(error).__name__
                    raise ValueError(f"{self._source.name}: line {number}: {why}") from error
                target.write(made.encode() + b"\n")
                self._records += 1
        return True


def _singer(job: Job) -> Singer:
    """The tap and target that a job names."""
    match job:
        case Singer():
            return job
        case Blocks(blocks=[tap, target, *rest], environment=None) if len(rest) < 2:
            return Singer(tap=tap, target=target, transform=rest[0] if rest else None)
        case Blocks():
            raise Refusal(
                "a copy of JSON lines takes a tap, a target, perhaps a transform, and no "
                "environment; all else needs a project of Meltano's"
            )
        case Dbt():
            raise Refusal("there is no dbt project here: start the service with a project")


def _named(known: dict[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise Refusal(f"there is no {what} {name!r:.80}; there are: {', '.join(sorted(known))}")
    return known[name]


def _lines(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers from 1."""
    number = 0
    while line := source.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise ValueError(f"{Path(source.name).name}: line {number}: over {LONGEST_LINE} bytes")
        if not line.isspace():
            yield number, line


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(record, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - about a file
    return record


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
