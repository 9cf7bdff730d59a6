"""The plain driver, as a program without the plugin uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import oracledb

if TYPE_CHECKING:
    from flext_plugins_devstack import OracleCompatibleServer


def connect(server: OracleCompatibleServer, **more: Any) -> oracledb.Connection:
    """Connect with the plain driver; `more` are further parameters of it, or others."""
    settings = server.settings()
    names = {"host": "host", "port": "port", "service_name": "service_name", "username": "user"}
    given = {to: settings[name] for name, to in names.items()}
    return oracledb.connect(**{**given, "password": settings["password"], **more})
