{% if cookiecutter.kind == 'resource' %}
"""Uses what the plugin lends, and shows what surrounds it."""
{% else %}
"""Sends a request through the plugin, to an echo on a free port of this machine."""
{% endif %}

import os
import subprocess
import sys
{% if cookiecutter.kind == 'resource' %}
import tempfile
{% endif %}
from pathlib import Path

{% if cookiecutter.kind == 'resource' %}
from flext_plugins import Host
{% endif %}
from flext_plugins_devstack import Devstack

{% if cookiecutter.kind == 'resource' %}
from {{ cookiecutter.__package }} import Entries

{% endif %}
COMMAND = Path(sys.executable).with_name("flext-plugins")

{% if cookiecutter.kind == 'resource' %}
with Devstack() as stack, tempfile.TemporaryDirectory() as folder:
    path = str(Path(folder, "entries.db"))
    os.environ["FLEXT__SERVICES__ECHO__PLUGINS__{{ cookiecutter.__variable }}__PATH"] = path
{% else %}
with Devstack() as stack:
{% endif %}
    os.environ["FLEXT__SERVICES__ECHO__BASE_URL"] = stack.echo.url
{% if cookiecutter.kind == 'message' %}
    os.environ.setdefault("{{ cookiecutter.__variable }}_KEY", "a key to try it with")
{% endif %}
    subprocess.run([COMMAND, "explain", "echo"], check=True)  # noqa: S603
    subprocess.run([COMMAND, "request", "echo", "GET", "/orders?page=2"], check=True)  # noqa: S603
{% if cookiecutter.kind == 'resource' %}
    with Host.from_file("flext.toml") as host:
        entries = host.resource("echo", Entries)
        entries.put("greeting", "hello")
        print("greeting:", entries.get("greeting"))
{% endif %}
