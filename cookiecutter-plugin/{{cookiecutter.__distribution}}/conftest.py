"""Brings the fixtures of the kit, such as `flext_world`."""

pytest_plugins = ["flext_plugins.testing"]
