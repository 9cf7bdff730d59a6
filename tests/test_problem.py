"""What a service answers with an error status, told to its caller and to the caller's caller."""

from __future__ import annotations

import html
import json
import pickle
import re
import time
import traceback
from urllib.parse import quote, quote_plus

import httpx
import pytest
from pydantic import BaseModel
from structlog.contextvars import bound_contextvars
from trickle import saying

from flext_plugins import (
    FlextError,
    Host,
    Secret,
    ServiceError,
    Stage,
    hookimpl,
    options,
    raise_for_status,
)
from flext_plugins.testing import Answer, LoopbackService

CANARIES = ["c4n4ry-header", "c4n4ry-plugin", "c4n4ry-user", "c4n4ry-password", "c4n4ry-token"]
PROBLEM = {"Content-Type": "application/problem+json"}


class Signs:
    """Sends a secret of its settings, and one that it made."""

    class Settings(BaseModel):
        key: Secret

    def __init__(self, settings):
        self.key = settings.key.get_secret_value()

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Signed"] = self.key
        request.headers["X-API-Key"] = "c4n4ry-token"


@pytest.fixture
def last_service():
    service = LoopbackService()
    yield service
    service.close()
    assert service.errors == []


def told(world, host, path="/", **given):
    with pytest.raises(ServiceError) as caught:
        raise_for_status(world.get(host, path, **given))
    return caught.value


def with_secrets(server):
    """A service that is sent all canaries but one."""
    header, key, user, password, _ = CANARIES
    return {
        "base_url": server.url.replace("http://", f"http://{user}:{password}@"),
        "headers": {"X-Service": header},
        "plugins": {"signs": {"key": key}},
    }


def test_an_answer_that_is_no_error_is_given_back(flext_service, flext_world):
    flext_service.answer = Answer(302, {"Location": "/"})
    response = flext_world.get(flext_world.serve(flext_service))

    assert raise_for_status(response) is response


@pytest.mark.parametrize(
    ("kind", "body", "title", "detail"),
    [
        ("application/json", {"error": "plugin not found: x"}, "Conflict", "plugin not found: x"),
        ("application/json; charset=utf-8", {"error": "e", "node_id": 1}, "Conflict", "e"),
        ("text/plain; charset=utf-8", "Invalid credentials\n", "Conflict", "Invalid credentials"),
        ("application/json", {"detail": "Not authenticated"}, "Conflict", "Not authenticated"),
        ("application/json", {"error": "x", "error_description": "why"}, "Conflict", "why"),
        ("application/json", {"error": {"code": 7, "message": "why"}}, "Conflict", "why"),
        ("application/problem+json", {"title": "Exists", "detail": "7"}, "Exists", "7"),
        ("application/vnd.api+json", {"title": 7, "detail": []}, "Conflict", None),
        ("application/json", "no JSON", "Conflict", None),
        ("application/json", "[" * 60_000, "Conflict", None),
        ("application/json", "[1]", "Conflict", None),
        ("text/html", "<h1>no</h1>", "Conflict", None),
        ("", "", "Conflict", None),
    ],
)
def test_what_services_say_in_their_several_ways(
    flext_service, flext_world, kind, body, title, detail
):
    text = body if isinstance(body, str) else json.dumps(body)
    flext_service.answer = Answer(409, {"Content-Type": kind} if kind else {}, text.encode())

    error = told(flext_world, flext_world.serve(flext_service))

    assert (error.status, error.title, error.detail) == (409, title, detail)
    assert (error.service, error.unread) == ("service", "")
    assert str(error).startswith(f"service: 409 {title}" + (f": {detail}" if detail else ""))


def test_every_member_of_problem_json_is_read(flext_service, flext_world):
    members = {"type": "https://x/full", "title": "Full", "detail": "no room", "instance": "/7"}
    body = {**members, "status": 400, "room": {"beds": [1, 2]}}
    flext_service.answer = Answer(503, PROBLEM, json.dumps(body).encode())

    error = told(flext_world, flext_world.serve(flext_service))

    assert {name: getattr(error, name) for name in members} == members
    assert error.status == 503  # what HTTP says counts
    assert error.extensions == {"room": {"beds": [1, 2]}}


def test_it_is_the_client_librarys_own_error_too(flext_service, flext_world):
    flext_service.answer = Answer(404)
    response = flext_world.get(flext_world.serve(flext_service))
    own = {"requests": "HTTPError"}.get(flext_world.name, "HTTPStatusError")
    kind = getattr(__import__(flext_world.name), own)

    with pytest.raises(kind) as caught:
        raise_for_status(response)

    error = caught.value
    assert isinstance(error, ServiceError)
    assert (error.response, error.request) == (response, response.request)
    assert error.call is response.extensions["flext_plugins.call"]
    copied = pickle.loads(pickle.dumps(error))
    assert isinstance(copied, ServiceError)
    assert (str(copied), copied.status) == (str(error), 404)
    assert copied.call.id == error.call.id


def test_the_correlation_id_is_the_services_or_else_the_calls(flext_service, flext_world):
    def correlated(headers, body):
        flext_service.answer = Answer(500, {**PROBLEM, **headers}, json.dumps(body).encode())
        with options(correlation_id="call"):
            error = told(flext_world, flext_world.serve(flext_service))
        assert str(error).endswith(f"[correlation id {error.correlation_id}]")
        return error.correlation_id

    assert correlated({}, {}) == "call"
    assert correlated({}, {"correlation_id": "body"}) == "body"
    assert correlated({"X-Correlation-ID": "head"}, {"correlation_id": "body"}) == "head"
    assert correlated({"X-Correlation-ID": "two words"}, {"correlation_id": 7}) == "call"


def relay(server, behind, served):
    """Make `server` ask the service `behind`, and answer with its problem."""

    def answer(received):
        with bound_contextvars(correlation_id=received.headers["x-correlation-id"]):
            try:
                raise_for_status(served.connect(behind).get("/"))
            except ServiceError as error:
                problem = {**error.problem(), "echo": received.headers}
                return Answer(502, PROBLEM, json.dumps(problem).encode())

    server.answer = answer


@pytest.mark.contract("service-errors-are-masked")
def test_the_first_caller_learns_of_the_third_services_error_and_nobodys_secret(
    flext_service, flext_elsewhere, last_service, flext_world
):
    def last(received):
        detail = f"{json.dumps(received.headers)} {' '.join(CANARIES[1:4])}"
        problem = {"title": "Order exists", "detail": detail, "got": received.headers}
        return Answer(409, PROBLEM, json.dumps(problem).encode())

    last_service.answer = last
    second = Host({"services": {"second": with_secrets(flext_elsewhere)}})
    third = Host({"services": {"third": with_secrets(last_service)}})
    first = flext_world.host({"services": {"first": with_secrets(flext_service)}}, signs=Signs)
    with second, third:
        for host in (second, third):
            host.register(Signs, "signs")
        relay(flext_service, "second", second)
        relay(flext_elsewhere, "third", third)
        with options(correlation_id="order-7"):
            error = told(flext_world, first, service="first")

    text = str(error)
    assert text.startswith(
        "first: 502 Bad Gateway; caused by second: 502 Bad Gateway; "
        "caused by third: 409 Order exists: "
    )
    assert text.endswith("[correlation id order-7]")
    assert (error.root_cause.service, error.root_cause.status) == ("third", 409)
    assert error.root_cause.title == "Order exists"
    assert "***" in error.root_cause.detail
    shown = [text, repr(error), repr(vars(error)), repr(vars(error.root_cause))]
    shown += traceback.format_exception(error)
    shown += [json.dumps(error.problem()), repr(error.response.extensions)]
    shown += [repr(error.extensions)]
    assert [each for each in CANARIES for one in shown if each in one] == []


@pytest.mark.contract("service-errors-are-masked")
def test_a_credential_that_was_sent_is_masked_without_its_scheme_too(flext_service, flext_world):
    class Logs:
        @hookimpl
        def flext_request(self, request):
            request.headers["Authorization"] = "Bearer made-here"

    flext_service.answer = Answer(401, PROBLEM, b'{"detail": "token made-here is blacklisted"}')
    error = told(flext_world, flext_world.serve(flext_service, Logs))

    assert error.detail == "token *** is blacklisted"


SPELLINGS = {
    "as it is": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded, in lower case": lambda text: re.sub(
        "%..", lambda found: found[0].lower(), quote(text, safe="")
    ),
    "every byte percent-encoded": lambda text: "".join(f"%{each:02X}" for each in text.encode()),
    "percent-encoded, but for what a path may hold": quote,
    "in a form": quote_plus,
    "percent-encoded twice": lambda text: quote(quote(text)),
    "in JSON": json.dumps,
    "in JSON of UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "in JSON for a script": lambda text: json.dumps(text).replace("/", "\\/"),
    "in JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "every unit escaped": lambda text: re.sub("(....)", r"\\u\1", text.encode("utf-16-be").hex()),
    "as a repr": repr,
    "as a repr of bytes": lambda text: repr(text.encode()),
    "in HTML": html.escape,
    "in HTML, by number": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "in HTML, without semicolons": lambda text: "".join(f"&#{ord(each)}" for each in text) + " ",
    "in HTML, with zeros": lambda text: "".join(f"&#x{ord(each):010x};" for each in text),
    "in JSON, percent-encoded": lambda text: quote(json.dumps(text)),
    "percent-encoded, in JSON": lambda text: json.dumps(quote(text, safe="")),
}
SECRET = "c4n4ry %41+\"p\\w/\u00f6=&\u20ac'\U0001f600-end"


@pytest.mark.parametrize("place", ["user info", "proxy", "plugin", "header", "the caller's"])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.contract("service-errors-are-masked")
def test_a_secret_is_masked_in_every_spelling(flext_service, place, spelling):
    url, written = flext_service.url, quote(SECRET, safe="")
    secret, given = SECRET, {}
    service = {"base_url": url, "plugins": {}}
    if place == "user info":
        service["base_url"] = url.replace("//", f"//ann:{written}@")
    elif place == "proxy":
        service["proxy"] = url.replace("//", f"//ann:{written}@")
    elif place == "plugin":
        service["plugins"] = {"keeps": {"key": SECRET}}
    elif place == "header":
        secret = "c4n4ry%41+\"p\\w/=&'-end"
        service["headers"] = {"X-Key": secret}
    else:
        given = {"auth": ("ann", SECRET)}

    class Keeps:
        class Settings(BaseModel):
            key: Secret

        @hookimpl
        def flext_request(self): ...

    detail = f"not accepted: {SPELLINGS[spelling](secret)}; good bye"
    flext_service.answer = Answer(401, PROBLEM, json.dumps({"detail": detail}).encode())
    host = Host({"services": {"service": service}})
    host.register(Keeps, "keeps")
    with host, host.connect("service") as client, pytest.raises(ServiceError) as caught:
        raise_for_status(client.get("/", **given))

    shown = caught.value.detail
    assert re.fullmatch(r"not accepted: .{0,12}\*\*\*.{0,12}; good bye", shown), shown


@pytest.mark.parametrize(
    "spelled",
    ["ann:c4n4ry", "Basic YW5uOmM0bjRyeQ==", "YW5uOmM0bjRyeQ==", "YW5uOmM0bjRyeQ%3D%3D", 48151623],
    ids=str,
)
@pytest.mark.contract("service-errors-are-masked")
@pytest.mark.parametrize("place", ["base_url", "proxy"])
def test_so_are_a_pair_in_base64_and_a_number(flext_service, flext_world, place, spelled):
    flext_service.answer = Answer(401, PROBLEM, json.dumps({"got": [spelled]}).encode())
    service = {"base_url": flext_service.url, "headers": {"X-Pin": "48151623"}}
    service[place] = flext_service.url.replace("//", "//ann:c4n4ry@")
    error = told(flext_world, flext_world.host({"services": {"service": service}}))

    assert error.extensions["got"][0] in {"***", "***:***", "Basic ***"}


@pytest.mark.parametrize("where", [Stage.AUTH, Stage.MESSAGE])
@pytest.mark.contract("service-errors-are-masked")
def test_so_is_one_that_a_plugin_took_off_again(flext_service, flext_world, where):
    """As `auth` does: outside of it nobody sees the request with the credential."""

    class Fetches:
        stage = where

        @hookimpl
        async def flext_exchange(self, request, send):
            request.headers["Authorization"] = "Bearer made-here"
            response = await send(request)
            del request.headers["Authorization"]
            return response

    flext_service.answer = Answer(401, PROBLEM, b'{"detail": "token made-here is blacklisted"}')
    error = told(flext_world, flext_world.serve(flext_service, Fetches))

    assert error.detail == "token *** is blacklisted"
    carried = error.response.extensions["flext_plugins.mask"]
    shown = [getattr(carried, name) for name in carried.__slots__]
    assert "made-here" not in repr([shown, error.response.extensions])


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.contract("service-errors-wait-for-nothing")
def test_a_body_that_was_not_read_is_not_waited_for(library):
    client = __import__(library)
    head = b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n"
    with saying(head) as port:
        with Host({"services": {"service": {"base_url": f"http://127.0.0.1:{port}"}}}) as host:
            with host.connect("service", client.Client).stream("GET", "/") as response:
                with pytest.raises(ServiceError, match="its body was not read") as caught:
                    raise_for_status(response)

    assert caught.value.status == 500


@pytest.mark.contract("service-errors-wait-for-nothing")
def test_a_body_that_was_not_read_is_not_waited_for_in_async(flext_async_world):
    with saying(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n") as port:
        service = {"base_url": f"http://127.0.0.1:{port}"}
        host = flext_async_world.host({"services": {"service": service}})

        async def main():
            async with flext_async_world.aconnect(host) as client:
                async with client.stream("GET", "/") as response:
                    with pytest.raises(ServiceError, match="its body was not read"):
                        raise_for_status(response)

        flext_async_world.run(main)


@pytest.mark.contract("service-errors-wait-for-nothing")
def test_a_body_that_was_not_read_is_not_waited_for_in_requests():
    import requests

    with saying(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n") as port:
        with Host({"services": {"service": {"base_url": f"http://127.0.0.1:{port}"}}}) as host:
            with host.connect("service", requests.Session).get("/", stream=True) as response:
                with pytest.raises(ServiceError, match="its body was not read"):
                    raise_for_status(response)
                assert not response.raw.closed  # as it was


def test_a_streamed_body_that_was_read_since_is_read(flext_service, flext_sync_world):
    flext_service.answer = Answer(500, {"Content-Type": "text/plain"}, b"why")
    client = flext_sync_world.connect(flext_sync_world.serve(flext_service))
    if flext_sync_world.name == "requests":
        response = client.get("/", stream=True)
        assert response.content == b"why"
    else:
        response = client.send(client.build_request("GET", "/"), stream=True)
        response.read()

    with pytest.raises(ServiceError, match="Error: why"):
        raise_for_status(response)
    client.close()


def test_a_long_body_is_not_looked_at(flext_service, flext_world):
    flext_service.answer = Answer(500, {"Content-Type": "text/plain"}, b"x" * 65_537)

    error = told(flext_world, flext_world.serve(flext_service))

    assert error.detail is None
    assert "(its body has more than 65536 bytes)" in str(error)


def test_a_number_that_is_too_long_for_a_character_is_text(flext_service, flext_world):
    """Python refuses to read more than 4,300 digits."""
    text = "&#" + "9" * 5_000 + ";"
    flext_service.answer = Answer(400, {"Content-Type": "text/plain"}, body=text.encode())
    host = flext_world.serve(flext_service, headers={"X-Key": "c4n4ry"})

    assert told(flext_world, host).detail == text


@pytest.mark.parametrize(
    "piece",
    [
        "?",
        "a",
        "%61",
        "%25",
        "%2525",
        "\\",
        "\\\\",
        "\\u0061",
        "&",
        "&#97;",
        "&#97",
        "ab",
        "+",
        "\u00e4",
    ],
)
def test_what_a_service_says_is_masked_in_no_time(flext_service, flext_world, piece):
    """Quadratic in its length this took half a minute."""
    text = piece * (65_536 // len(piece.encode()))
    flext_service.answer = Answer(400, {"Content-Type": "text/plain"}, body=text.encode())
    secret = "a" * 5_000 + "b"
    host = flext_world.serve(flext_service, headers={"X-Key": secret})

    began = time.process_time()
    assert told(flext_world, host).detail == text
    assert time.process_time() - began < 5


MANY = {
    "cookies, which a service can set by the thousand": "; ".join(
        f"c{n}=v{n:04}" for n in range(4000)
    ),
    "parts of one cookie": "c=" + "'".join(f"p{n:04}" for n in range(4000)),
    "parts between backslashes": "c=" + "\\".join(f"p{n:04}" for n in range(600)),
    "cookies that are long": "; ".join(f"c{n}={'v' * 60}{n:04}" for n in range(600)),
}


@pytest.mark.parametrize("case", MANY)
@pytest.mark.contract("service-errors-are-masked")
def test_with_too_many_secrets_to_look_for_nothing_of_an_answer_is_shown(
    flext_service, flext_world, case
):
    """To look for each of them in each text took minutes, in which an event loop stood still."""
    texts = [f"text {n:04}" for n in range(4000)]
    body = json.dumps({"detail": "v0007", "errors": texts, "other": "c5"}).encode()
    flext_service.answer = Answer(400, {"Content-Type": "application/json"}, body)
    host = flext_world.serve(flext_service)

    began = time.process_time()
    error = told(flext_world, host, headers={"Cookie": MANY[case]})

    assert time.process_time() - began < 5
    assert (error.status, error.title, error.detail) == (400, "Bad Request", None)
    assert {*error.extensions} == {"***"}
    assert not re.search("text|v0|c5", repr(error.extensions))


def test_what_a_service_says_cannot_spoil_a_log(flext_service, flext_world):
    nested = {"status": 500, "title": "deep"}
    for _ in range(100):
        nested = {"status": 500, "service": "x" * 300, "caused_by": nested}
    problem = {"title": "a\nb\x1b[2J", "detail": "long " * 999, "caused_by": nested}
    flext_service.answer = Answer(500, PROBLEM, json.dumps(problem).encode())

    error = told(flext_world, flext_world.serve(flext_service))

    assert str(error).startswith("service: 500 a b [2J: long long")
    assert str(error).isprintable()
    assert str(error).count("caused by") == 8
    assert len(str(error)) < 5_000


@pytest.mark.parametrize("status", ["500", None, 99, 600, True, 5.0])
def test_a_cause_without_a_status_is_none(flext_service, flext_world, status):
    problem = {"caused_by": {"status": status}}
    flext_service.answer = Answer(500, PROBLEM, json.dumps(problem).encode())

    assert told(flext_world, flext_world.serve(flext_service)).caused_by is None


def test_another_origins_error_names_its_host(flext_service, flext_elsewhere, flext_world):
    flext_elsewhere.answer = Answer(410)

    error = told(flext_world, flext_world.serve(flext_service), flext_elsewhere.url)

    assert str(error).startswith("127.0.0.1: 410 Gone")


def test_a_plugins_own_answer_is_read_as_well(flext_service, flext_world):
    class Answers:
        @hookimpl
        def flext_request(self, connection):
            return connection.respond(503, {"Content-Type": "text/plain"}, b"maintenance")

    error = told(flext_world, flext_world.serve(flext_service, Answers))

    assert str(error).startswith("service: 503 Service Unavailable: maintenance")
    assert error.call.answered_by == "answers"


def test_responses_that_are_not_a_hosts_are_read_as_well():
    bare = httpx.Response(500, json={"error": "why at http://u:p@host/?token=t"})
    with pytest.raises(ServiceError) as caught:
        raise_for_status(bare)
    assert str(caught.value) == "500 Internal Server Error: why at http://***@host/?token=***"
    assert not isinstance(caught.value, httpx.HTTPError)  # which has to have a request

    sent = httpx.Response(599, request=httpx.Request("GET", "https://api.example/x"))
    with pytest.raises(httpx.HTTPStatusError, match="api.example: 599"):
        raise_for_status(sent)


def test_it_is_an_error_of_ours():
    assert issubclass(ServiceError, FlextError)
    assert ServiceError("Gone", 410).problem(503)["title"] == "Service Unavailable"
