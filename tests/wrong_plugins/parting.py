"""Trips, as it disconnects, over what is not there when nothing was sent."""

from flext_plugins import hookimpl


class Wrong:
    rule = "test_what_it_makes_is_closed_with_the_connection"
    seen = ("closing raised PluginError(", "flext_disconnect raised KeyError")

    @hookimpl
    def flext_request(self, connection):
        connection.state["requests"] = 1

    @hookimpl
    def flext_disconnect(self, connection):
        del connection.state["requests"]
