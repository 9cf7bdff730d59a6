"""The plugin keeps to the contract of plugins."""

import pytest
from flext_plugins_oracle import Oracle

from flext_plugins.testing import PluginConformance

SID = frozenset({"sid", "connections.sid"})
"""The instance's name, and no session's."""
ACCOUNT = {"username": "shop", "password": "a-password"}


class TestOracle(PluginConformance):
    plugin = Oracle
    not_secret = SID
    settings = {"host": "127.0.0.1", "port": 1, "service_name": "PROD", "schema": "s", **ACCOUNT}


@pytest.mark.once
class TestSeveral(PluginConformance):
    plugin = Oracle
    not_secret = SID
    settings = {
        "connections": {
            "prod": {"dsn": "tcps://127.0.0.1:1/PROD", **ACCOUNT},
            "staging": {"host": "127.0.0.1", "port": 1, "sid": "STAGING", **ACCOUNT},
        },
        "database_header": "",
    }
