"""authlib's OAuth client over a host's connection: its provider stands behind a gateway.

The gateway's login is the `auth` plugin's; the provider's token is authlib's, and stays so.

Needs authlib, the extras `httpx2` and `standard` of flext-plugins, flext-plugins-devstack.
python examples/authlib_client.py
"""

from __future__ import annotations

import httpx2
from authlib.integrations.httpx_client import OAuth2Client
from flext_plugins_devstack import Devstack
from protected import Protected, services

from flext_plugins import Host

TOKEN = {"access_token": "the partner's", "token_type": "Bearer", "expires_in": 3600}

with (
    Devstack() as stack,
    Protected(stack, {"/oauth/token": TOKEN}) as gateway,
    Host(services(stack, "partner", gateway.url)) as host,
    OAuth2Client(
        "an-id",
        "a-secret",
        token_endpoint_auth_method="client_secret_post",  # noqa: S106 - leaves the header free
        transport=host.transport("partner", httpx2.BaseTransport),
    ) as client,
):
    url = f"{gateway.url}/oauth/token"
    print("logged in:         ", client.fetch_token(url)["access_token"], gateway.statuses)

    stack.auth.revoke_all()
    gateway.statuses.clear()
    print("session revoked:   ", client.fetch_token(url)["access_token"], gateway.statuses)

    gateway.down()
    for _ in range(3):
        try:
            client.fetch_token(url)
        except httpx2.TransportError as error:
            print("down:              ", type(error).__name__, "-", error)
