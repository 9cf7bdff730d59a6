"""A Singer tap over a host's connection: its stream's session is the host's.

Needs singer-sdk, the extras `requests` and `standard` of flext-plugins, flext-plugins-devstack.
python examples/singer_stream.py
"""

from __future__ import annotations

from functools import cached_property

import requests
from flext_plugins_devstack import Devstack
from protected import services
from singer_sdk import RESTStream, Stream, Tap
from singer_sdk import typing as th

from flext_plugins import Host


class Plugins(RESTStream):
    """FlexCore's plugins."""

    name = "plugins"
    path = "/api/v1/flexcore/plugins"
    records_jsonpath = "$.plugins[*]"
    schema = th.PropertiesList(
        th.Property("name", th.StringType),
        th.Property("status", th.StringType),
        th.Property("version", th.StringType),
    ).to_dict()

    @property
    def url_base(self) -> str:
        """The service's address."""
        return stack.flexcore.url

    @cached_property
    def requests_session(self) -> requests.Session:
        """All that it takes; one session, so that cookies stay from page to page."""
        return host.connect("flexcore", requests.Session)

    def backoff_max_tries(self) -> int:
        """Once: the default of five waits half a minute in all, also for an open circuit."""
        return 1


class TapFlexCore(Tap):
    """A tap with one stream."""

    name = "tap-flexcore"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self) -> list[Stream]:
        """Only this one."""
        return [Plugins(self)]


def received() -> int:
    """How many requests FlexCore has had."""
    return len(stack.flexcore.received)


with (
    Devstack(protected=True) as stack,
    Host(services(stack, "flexcore", stack.flexcore.url)) as host,
):
    stream = TapFlexCore(config={}).streams["plugins"]
    print("logged in:         ", list(stream.get_records(None)))

    stack.auth.revoke_all()
    before = received()
    print("token revoked:     ", list(stream.get_records(None)))
    print(
        "                   ", received() - before, "requests,", stack.auth.logins, "logins in all"
    )

    stack.flexcore.down()
    for _ in range(3):
        try:
            list(stream.get_records(None))
        except requests.ConnectionError as error:
            print("down:              ", type(error).__name__, "-", error)
