"""The openai SDK over a host's connection: a login healed, a circuit open, the SDK unpatched.

Needs openai, the extras `httpx2` and `standard` of flext-plugins, flext-plugins-devstack.
python examples/openai_client.py
"""

from __future__ import annotations

import httpx2
from flext_plugins_devstack import Devstack
from openai import APIConnectionError, OpenAI
from protected import Protected, services

from flext_plugins import Host

MESSAGE = {"role": "assistant", "content": "hello"}
COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "small",
    "choices": [{"index": 0, "finish_reason": "stop", "message": MESSAGE}],
}


def ask(client: OpenAI) -> str | None:
    """One question, as any program of openai's puts it."""
    messages = [{"role": "user", "content": "say hello"}]
    completion = client.chat.completions.create(model="small", messages=messages)
    return completion.choices[0].message.content


with (
    Devstack() as stack,
    Protected(stack, {"/v1/chat/completions": COMPLETION}) as gateway,
    Host(services(stack, "openai", gateway.url, replace=True)) as host,
):
    client = OpenAI(
        base_url=f"{gateway.url}/v1",
        api_key="unused",  # openai insists on one; `replace` puts the login's token in its place
        max_retries=0,
        http_client=host.connect("openai", httpx2.Client),
    )
    print("logged in:         ", ask(client), gateway.statuses)

    stack.auth.revoke_all()
    gateway.statuses.clear()
    print("token revoked:     ", ask(client), gateway.statuses)

    gateway.down()
    for _ in range(3):
        try:
            ask(client)
        except APIConnectionError as error:
            print("down:              ", type(error.__cause__).__name__, "-", error.__cause__)
