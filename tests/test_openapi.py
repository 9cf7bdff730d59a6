"""A client that openapi-python-client generates from a document, on top of a composed one."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from flext_plugins_circuit_breaker import CircuitOpen

from flext_plugins import Host, options
from flext_plugins.testing import Answer

pytestmark = pytest.mark.slow

GENERATOR = "openapi-python-client==0.29.1"
"""Asks for an older typer than ours, and so has an environment of its own."""
DOCUMENT = Path(__file__).parent / "orders.openapi.json"
ORDER = b'{"number": 7, "item": "tea"}'


def run(*command):
    done = subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    """The generated package."""
    folder = tmp_path_factory.mktemp("generated")
    run(sys.executable, "-m", "venv", folder / "venv")
    programs = folder / "venv/bin"
    run(programs / "pip", "install", "--disable-pip-version-check", "-q", GENERATOR)
    (folder / "settings.yaml").write_text("post_hooks: []\n")
    where = ["--output-path", folder / "orders_client", "--meta", "none"]
    settings = ["--config", folder / "settings.yaml"]
    run(programs / "openapi-python-client", "generate", "--path", DOCUMENT, *where, *settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        importlib.import_module("orders_client.api.orders.get_order")
        yield importlib.import_module("orders_client")
    for name in [each for each in sys.modules if each.partition(".")[0] == "orders_client"]:
        del sys.modules[name]


@pytest.fixture
def host(flext_service):
    plugins = {
        "auth": {"scheme": "bearer", "token": "a-token"},
        "retry": {"backoff": 0.01},
        "circuit-breaker": {"failure_threshold": 3},
    }
    service = {"base_url": flext_service.url, "plugins": plugins}
    with Host({"allow_inline_secrets": True, "services": {"orders": service}}) as host:
        yield host


@pytest.fixture(params=["sync", "async"])
def get_order(request, orders, host):
    """The generated function, with the client that it is called with."""
    operation = orders.api.orders.get_order
    # Its own address and token are for clients that it makes itself.
    client = orders.AuthenticatedClient(base_url="http://not-used.example", token="not-used")

    async def aget(number):
        async with host.aconnect("orders") as connected:
            return await operation.asyncio(number, client=client.set_async_httpx_client(connected))

    def get(number):
        return operation.sync(number, client=client.set_httpx_client(host.connect("orders")))

    return get if request.param == "sync" else lambda number: asyncio.run(aget(number))


def test_an_operation_goes_through_the_plugins(get_order, flext_service):
    answers = iter([Answer(503), Answer(body=ORDER)])
    flext_service.answer = lambda received: next(answers)
    with options(correlation_id="order-7"):
        order = get_order(7)
    assert (order.number, order.item) == (7, "tea")
    assert flext_service.paths() == ["/orders/7", "/orders/7"]
    sent = flext_service.received[0].headers
    assert (sent["authorization"], sent["x-correlation-id"]) == ("Bearer a-token", "order-7")


def test_a_refusal_is_httpxs_own_error(get_order, flext_service):
    flext_service.answer = Answer(503)
    assert get_order(7) is None  # what the document does not know is nothing, as it comes
    with pytest.raises(httpx.TransportError) as caught:
        get_order(7)
    assert isinstance(caught.value, CircuitOpen)
    assert len(flext_service.received) == 3
