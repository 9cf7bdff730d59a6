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


class Customers(Stream):
    """Customers, each as often as they were changed; a revision is the number of a change."""

    name = "customers"
    schema = th.PropertiesList(
        th.Property("revision", th.IntegerType, required=True),
        th.Property("id", th.IntegerType, required=True),
        th.Property("name", th.StringType),
        th.Property("email", th.StringType),
        th.Property("country", th.StringType),
    ).to_dict()
    primary_keys = ("revision",)
    replication_key = "revision"
    is_sorted = True  # or the run fails: what came late would be passed over from then on

    def get_records(self, context: Any) -> Iterator[dict[str, Any]]:
        """Read what is newer than the state; a line that is no customer is told, and left out."""
        last = self.get_starting_replication_key_value(context) or 0
        schema, path = Draft202012Validator(self.schema), Path(self.config["path"])
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line)
                    schema.validate(record)
                except ValueError:
                    self.logger.error("%s, line %d: it is no JSON", path.name, number)  # noqa: TRY400
                except ValidationError as wrong:  # its message would repeat the value
                    where = f"{path.name}, line {number}: {wrong.json_path}"
                    expected = wrong.validator, wrong.validator_value
                    self.logger.error("%s: expected %s %s", where, *expected)  # noqa: TRY400
                else:
                    if record["revision"] > last:
                        yield record


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
