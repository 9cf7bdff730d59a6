"""A Singer tap for a file of JSON lines to which every change of a customer is appended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, ValidationError
from singer_sdk import Stream, Tap
from singer_sdk import typing as th

if TYPE_CHECKING:
    from collections.abc import Iterator

Number = th.IntegerType(minimum=1, maximum=999_999_999)


class Customers(Stream):
    """Customers, each as often as they were changed; a revision is the number of a change."""

    name = "customers"
    schema = th.PropertiesList(
        th.Property("revision", Number, required=True),
        th.Property("id", Number, required=True),
        th.Property("name", th.StringType),
        th.Property("email", th.StringType),
        th.Property("country", th.StringType),
    ).to_dict()
    primary_keys = ("revision",)
    replication_key = "revision"
    is_sorted = True  # or a run that was cut off would begin anew

    def get_records(self, context: Any) -> Iterator[dict[str, Any]]:
        """Read what is newer than the state.

        A line that is not a customer is left out, and reported by the run that comes past it. A
        revision that does not follow those before it ends the run, whether they are new or not:
        with the state where it is, the change would never be seen again.
        """
        last = self.get_starting_replication_key_value(context) or 0
        path, previous, bad = Path(self.config["path"]), 0, []
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = self._customer(line)
                except ValueError as error:
                    bad.append(f"{path.name}, line {number}: {error}")
                    continue
                if record["revision"] <= previous:
                    self._report([f"{path.name}, line {number}: revision not above {previous}"])
                    raise ValueError("the revisions are not in order")
                previous = record["revision"]
                if previous <= last:
                    bad.clear()  # reported by the run that this record was new to
                    continue
                self._report(bad)
                yield record
        self._report(bad)

    def _customer(self, line: bytes) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(line, parse_float=str)  # 1.0 is an integer in JSON
            json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError):
            raise ValueError("not JSON") from None
        try:
            Draft202012Validator(self.schema).validate(record)
        except ValidationError as wrong:  # its message would repeat the value
            expected = f"expected {wrong.validator} {wrong.validator_value}"
            raise ValueError(f"{wrong.json_path}: {expected}") from None
        return record

    def _report(self, bad: list[str]) -> None:
        while bad:
            self.logger.error(bad.pop(0))


class TapCustomers(Tap):
    """A tap with one stream."""

    name = "tap-customers"
    config_jsonschema = th.PropertiesList(
        th.Property("path", th.StringType, required=True, description="The file.")
    ).to_dict()

    def discover_streams(self) -> list[Stream]:
        """Only this one."""
        return [Customers(self)]


if __name__ == "__main__":
    TapCustomers.cli()
