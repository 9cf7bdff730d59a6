"""What all tests use: the kit that plugin authors get."""

pytest_plugins = ["flext_plugins.testing"]
