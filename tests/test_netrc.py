"""What the machine's `.netrc` says, beside what the caller and the configuration say."""

import base64

import pytest
import requests
from requests.adapters import BaseAdapter

from flext_plugins import Host, hookimpl
from flext_plugins.testing import Answer

MACHINES = "Basic " + base64.b64encode(b"somebody:else").decode()
ANA = "Basic " + base64.b64encode(b"ana:pw").decode()


class Bearer:
    """Leaves a request alone that brings its own credential, as `auth` does."""

    @hookimpl
    def flext_request(self, request):
        request.headers.setdefault("Authorization", "Bearer plugin")


@pytest.fixture(autouse=True)
def _netrc(monkeypatch, tmp_path):
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password else\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


SERVICE = {"headers": {"Authorization": "Bearer service"}}
HEADER = {"headers": {"Authorization": "Bearer caller"}}
SAID = {
    "the plugin's": ((Bearer,), {}, {}, {}, "Bearer plugin"),
    "the service's": ((), SERVICE, {}, {}, "Bearer service"),
    "the service's before the plugin's": ((Bearer,), SERVICE, {}, {}, "Bearer service"),
    "the caller's": ((), {}, {}, HEADER, "Bearer caller"),
    "the caller's before the plugin's": ((Bearer,), {}, {}, HEADER, "Bearer caller"),
    "the caller's before the service's": ((), SERVICE, {}, HEADER, "Bearer caller"),
    "the client's": ((Bearer,), {}, HEADER, {}, "Bearer caller"),
    "the caller's name and password": ((Bearer,), SERVICE, {}, {"auth": ("ana", "pw")}, ANA),
    "the client's name and password": ((Bearer,), SERVICE, {"auth": ("ana", "pw")}, {}, ANA),
}


@pytest.mark.parametrize("path", ["/x", "/moved"])
@pytest.mark.parametrize("name", SAID)
@pytest.mark.contract("environments-credential-is-last")
async def test_a_netrc_replaces_no_credential(flext_service, flext_world, name, path):
    plugins, service, client_options, options, expected = SAID[name]
    flext_service.answer = lambda received: Answer(
        302 if received.path == "/moved" else 200, {"Location": "/x"}
    )
    host = flext_world.serve(flext_service, *plugins, **service)
    client = await flext_world.client(host, follow_redirects=True, **client_options)
    await client.get(path, **options)

    seen = [each.headers["authorization"] for each in flext_service.received]
    assert seen == [expected] * len(seen)


@pytest.mark.parametrize("path", ["/x", "/moved"])
@pytest.mark.contract("environments-credential-is-last", "plain-without-plugins")
async def test_a_netrc_is_followed_as_in_the_plain_library_if_nobody_says_more(
    flext_service, flext_world, path
):
    flext_service.answer = lambda received: Answer(
        302 if received.path == "/moved" else 200, {"Location": "/x"}
    )
    client = await flext_world.client(flext_world.serve(flext_service), follow_redirects=True)
    answer = await client.get(path)

    expected = MACHINES if flext_world.name == "requests" else None
    seen = [each.headers.get("authorization") for each in flext_service.received]
    assert seen == [expected] * len(seen)
    assert answer.request.headers.get("Authorization") == expected


class Own(requests.Session):
    """An application's own kind of session."""


def mounted(host, url):
    session = requests.Session()
    session.mount(url, host.transport("service", BaseAdapter))
    return session


def distrustful(host, _):
    session = host.connect("service", requests.Session)
    session.trust_env = False
    return session


SESSIONS = {
    "connected": lambda host, _: host.connect("service", requests.Session),
    "of its own kind": lambda host, _: host.connect("service", Own),
    "mounted": mounted,
    "that trusts no environment": distrustful,
}


@pytest.mark.parametrize("make", SESSIONS.values(), ids=SESSIONS)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.contract("environments-credential-is-last")
def test_a_netrc_replaces_no_credential_in_any_session(flext_service, make, method):
    config = {"base_url": flext_service.url, "plugins": {"bearer": {}}}
    with Host({"services": {"service": config}}) as host:
        host.register(Bearer, "bearer")
        with make(host, flext_service.url) as session:
            for _ in range(2):
                session.request(method, f"{flext_service.url}/x?a=b")

    seen = [each.headers["authorization"] for each in flext_service.received]
    assert seen == ["Bearer plugin"] * 2


@pytest.mark.contract("environments-credential-is-last", "own-origin-only")
def test_a_netrc_is_followed_at_another_origin(flext_service, flext_elsewhere):
    flext_service.answer = Answer(302, {"Location": f"{flext_elsewhere.url}/there"})
    config = {"base_url": flext_service.url, "plugins": {"bearer": {}}}
    with Host({"services": {"service": config}}) as host:
        host.register(Bearer, "bearer")
        host.connect("service", requests.Session).get("/x")

    assert flext_service.received[0].headers["authorization"] == "Bearer plugin"
    assert flext_elsewhere.received[0].headers["authorization"] == MACHINES


@pytest.mark.contract("plain-without-plugins")
def test_the_user_in_a_url_wins_over_a_header_as_in_the_plain_session(flext_service):
    """No `.netrc` has to do with it."""
    url = flext_service.url.replace("//", "//ana:pw@")
    with Host({"services": {"svc": {"base_url": flext_service.url}}}) as host:
        for session in (requests.Session(), host.connect("svc", requests.Session)):
            with session:
                session.trust_env = False
                session.get(url, headers={"Authorization": "Bearer caller"})
    assert [each.headers["authorization"] for each in flext_service.received] == [ANA, ANA]


@pytest.mark.contract("environments-credential-is-last")
def test_where_it_is_not_asked_for_it_is_no_credential_of_its_own(flext_service):
    """Whoever says the same name and password as the file does is the caller still."""
    config = {"base_url": flext_service.url, "plugins": {"bearer": {}}}
    with Host({"services": {"service": config}}) as host:
        host.register(Bearer, "bearer")
        distrustful(host, None).get("/x", auth=("somebody", "else"))
    assert flext_service.received[0].headers["authorization"] == MACHINES


@pytest.mark.parametrize("trusts", [True, False])
@pytest.mark.contract("plain-without-plugins")
def test_one_that_is_no_text_hurts_nobody_who_has_a_credential(flext_service, tmp_path, trusts):
    (tmp_path / "netrc").write_bytes(b"machine 127.0.0.1 login \xff password else\n")
    with Host({"services": {"svc": {"base_url": flext_service.url}}}) as host:
        for session in (requests.Session(), host.connect("svc", requests.Session)):
            session.trust_env = trusts
            session.get(f"{flext_service.url}/x", auth=("ana", "pw"))
    assert [each.headers["authorization"] for each in flext_service.received] == [ANA, ANA]
