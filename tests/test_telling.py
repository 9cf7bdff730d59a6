"""Telling of a call, by logs, events, reports and masks, neither ends it nor forges a line."""

import gc
import logging
import sys

import pytest
import structlog

from flext_plugins import PluginError, Refused, events, hookimpl, raise_for_status
from flext_plugins._logging import filter_loggers, log, redact_value
from flext_plugins.testing import Answer

CANARY = "canary-3f6b"
OURS = "flext_plugins"


class Mute(Exception):
    """Has no text."""

    def __str__(self):
        raise ValueError(CANARY)

    __repr__ = __format__ = __str__


class Odd:
    """Has no text, is not hashable, and does not even say what it is."""

    __str__ = __repr__ = __format__ = __hash__ = __eq__ = Mute.__str__

    @property
    def __class__(self):
        raise ValueError(CANARY)


class Tells:
    """Has something logged and told for each request, and is no observer."""

    @hookimpl
    def flext_request(self, connection):
        connection.emit(events.StateChanged("breaker", "http://x", "closed", "open", "5 failures"))
        connection.emit(events.CallRefused(connection.call, "guard", "maintenance", None))


class Fails:
    """Has something reported for each request."""

    observer = True

    @hookimpl
    def flext_request(self):
        raise ValueError(CANARY)


class Listens:
    @hookimpl
    def flext_event(self, event):
        pass


def emitter(*emitted, kind=ValueError):
    class Emits:
        @hookimpl
        def flext_request(self, connection):
            for event in emitted:
                connection.emit(event)

        @hookimpl
        def flext_event(self, event):
            raise kind(CANARY)

    return Emits


class Answers:
    """Answers each event with another."""

    @hookimpl
    def flext_event(self, event, connection):
        connection.emit(event)


class Unopened:
    observer = True

    @hookimpl
    def flext_connect(self):
        raise OSError(CANARY)


class Silent:
    """An observer whose error has no text."""

    observer = True

    @hookimpl
    async def flext_exchange(self, request, send):
        await send(request)
        raise Mute


def raises(*_, **__):
    raise RuntimeError(CANARY)


def factory(*keys, **values):
    plain = logging.getLogRecordFactory()

    def make(*args, **options):
        record = plain(*args, **options)
        vars(record).update(dict.fromkeys(keys, "the application's"), **values)
        return record

    return lambda patch: patch.setattr(logging, "_logRecordFactory", make)


def handler(**parts):
    """Have the lines go to a handler with these parts."""

    def add(patch):
        made = logging.StreamHandler()
        for name, value in parts.items():
            setattr(made, name, value)
        patch.setattr(logging.getLogger(OURS), "handlers", [made])

    return add


def logger(name):
    return lambda patch: patch.setattr(logging.getLogger(OURS), name, raises)


def bound(**values):
    return lambda patch: patch.setattr(
        structlog.contextvars, "get_contextvars", lambda: dict(values)
    )


def no_errors_shown(patch):
    patch.setattr(logging, "raiseExceptions", False)
    handler(emit=raises)(patch)


def no_stderr(patch):
    patch.setattr(sys, "stderr", None)
    handler(emit=raises)(patch)


STATE = events.StateChanged
TELLING = {
    "a record that has our keys": (factory("service", "plugin", "call_id", "correlation_id"), ()),
    "a record that has a formatter's keys": (factory("message", "asctime"), ()),
    "a factory that raises": (
        lambda patch: patch.setattr(logging, "_logRecordFactory", raises),
        (),
    ),
    "a factory that makes no record": (
        lambda patch: patch.setattr(logging, "_logRecordFactory", lambda *_, **__: None),
        (),
    ),
    "a handler that raises": (handler(emit=raises), ()),
    "a handler whose error handler raises": (handler(format=raises, handleError=raises), ()),
    "a filter of a handler that raises": (handler(filters=[raises]), ()),
    "a formatter that raises": (handler(format=raises), ()),
    "a handler that raises, and nobody who wants to know": (no_errors_shown, ()),
    "a handler that raises, and no stderr": (no_stderr, ()),
    "a filter that raises": (
        lambda patch: patch.setattr(logging.getLogger(OURS), "filters", [raises]),
        (),
    ),
    "a logger that asks": (logger("isEnabledFor"), ()),
    "a logger that makes no record": (logger("makeRecord"), ()),
    "a logger that does not know who calls": (logger("findCaller"), ()),
    "bound: names of ours": (bound(service="x", event="x", level="x", exc_info="x", msg="%s"), ()),
    "bound: no text": (bound(order=Odd()), ()),
    "bound: not hashable": (bound(order=[{}], items={"a": []}), ()),
    "bound: a correlation id without text": (bound(correlation_id=Odd()), ()),
    "bound: no module yet": (
        lambda patch: patch.delattr(structlog.contextvars, "get_contextvars"),
        (),
    ),
    "an event of odd fields": (None, (emitter(STATE(Odd(), Odd(), Odd(), Odd(), Odd())),)),
    "a refusal of odd fields": (None, (emitter(events.CallRefused(Odd(), Odd(), Odd(), Odd())),)),
    "an event that does not say what it is": (None, (emitter(Odd()),)),
    "an event that is a class": (None, (emitter(Odd, None, 5),)),
    "receivers that raise at each other's errors": (None, (emitter(1), emitter(2))),
    "a receiver whose error has no text": (None, (emitter(1, kind=Mute),)),
    "a receiver that answers itself": (None, (Answers, Tells)),
    "an observer whose error has no text": (None, (Silent, Listens)),
    "an observer that cannot open": (None, (Unopened, Listens)),
}


@pytest.mark.parametrize(("prepare", "plugins"), TELLING.values(), ids=TELLING)
@pytest.mark.contract("telling-is-harmless")
def test_whatever_goes_wrong_in_telling_of_a_call_the_call_goes_on(
    flext_service, flext_world, monkeypatch, capfd, prepare, plugins
):
    monkeypatch.setattr(logging.getLogger(OURS), "level", logging.DEBUG)
    if prepare is not None:
        prepare(monkeypatch)
    named = {
        f"p{number}": plugin for number, plugin in enumerate(plugins or (Tells, Fails, Listens))
    }
    service = {"base_url": flext_service.url, "plugins": {name: {} for name in named}}
    host = flext_world.host({"services": {"service": service}}, **named)
    gc.disable()  # at the bottom of a recursion, what others left cannot be collected
    try:
        for _ in range(2):
            assert flext_world.get(host).status_code == 200
    finally:
        gc.enable()
    assert len(flext_service.received) == 2
    assert CANARY not in "".join(
        line for line in capfd.readouterr().err.splitlines() if line.startswith("flext_plugins")
    )


@pytest.mark.contract("telling-is-harmless")
def test_a_line_of_the_host_that_goes_wrong_hurts_nobody(monkeypatch):
    def broken(*_, **__):
        raise ValueError("no records today")

    before = logging.getLogRecordFactory()
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.setLogRecordFactory(broken)
    try:
        log(logging.WARNING, "closing raised {}", "ValueError", service="a")
    finally:
        logging.setLogRecordFactory(before)


@pytest.mark.contract("telling-is-harmless")
def test_an_error_without_text_is_told_as_any_other(flext_service, flext_world):
    class Fails:
        @hookimpl
        def flext_request(self):
            raise Mute

    class Refuses:
        @hookimpl
        def flext_request(self):
            raise Refused(Mute())

    with pytest.raises(PluginError, match="flext_request raised Mute at "):
        flext_world.get(flext_world.serve(flext_service, Fails, Listens))
    with pytest.raises(Refused, match="without text"):
        flext_world.get(flext_world.serve(flext_service, Refuses, Listens))


@pytest.mark.parametrize("name", ["X-API-Key", b"X-API-Key"])
@pytest.mark.parametrize("value", [12345678, b"12345678", "12345678"])
@pytest.mark.contract("telling-is-harmless")
def test_a_header_that_only_requests_can_send_is_masked_too(flext_service, name, value):
    import requests

    from flext_plugins import Host

    class Marks:
        @hookimpl
        def flext_request(self, request):
            request.headers[name] = value

    flext_service.answer = Answer(500, {"Content-Type": "text/plain"}, b"not 12345678")
    with Host({"services": {"a": {"base_url": flext_service.url, "plugins": {"m": {}}}}}) as host:
        host.register(Marks, "m")
        answer = host.connect("a", requests.Session).get("/")
    with pytest.raises(requests.HTTPError, match=r"not \*\*\*"):
        raise_for_status(answer)


FORGERIES = {
    "a line break": "\n2026-01-01 CRITICAL root logged in",
    "a carriage return": "\roverwritten",
    "an escape sequence": "\x1b[2J\x1b[31m",
    "an escape sequence in one character": "\x9b31m",
    "a line break of Unicode": "\u2028forged",
    "a next line": "\x85forged",
    "a direction": "\u202egnp.exe",
    "half a character": "\ud800",
    "a bell, a null": "\x07\x00",
    "a form": "{0} {service} %s %(name)s",
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.contract("lines-cannot-be-forged")
def test_no_value_in_a_line_of_ours_can_pass_for_another_line(
    flext_service, flext_world, caplog, forgery
):
    caplog.set_level(logging.DEBUG, OURS)
    text = f"before{forgery}after"
    wrong = type(text.replace("\0", "").replace("\ud800", "\n"), (Exception,), {})

    class Emits:
        observer = True

        @hookimpl
        def flext_request(self, connection):
            connection.emit(STATE("breaker", text, text, text, text))
            connection.emit(events.CallRefused(connection.call, text, text, None))
            raise wrong

    config = {"services": {"service": {"base_url": flext_service.url, "plugins": {"emits": {}}}}}
    host = flext_world.host(config, emits=Emits)
    with structlog.contextvars.bound_contextvars(user_agent=text, **{text: "key"}):
        assert flext_world.get(host).status_code == 200
    assert len(caplog.records) == 3
    for record in caplog.records:
        told = [record.getMessage(), record.service, record.user_agent, *vars(record)]
        assert all(each.isprintable() for each in told)
        assert "before" in record.getMessage()
    assert "user_agent=before" + forgery.encode("unicode_escape").decode() in record.getMessage()


def library():
    """A logger that is filtered as those of client libraries are."""
    logger = logging.getLogger("test.library")
    logger.filters = []
    filter_loggers([logger.name], redact_value)
    return logger


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize(
    "arguments",
    [
        lambda text: ("said %s %d", (text, 5)),
        lambda text: ("said %r", (text,)),
        lambda text: ("said %(what)s", ({"what": text},)),
        lambda text: ("said %s", (Exception(text),)),
        lambda text: ("said " + text, ()),
        lambda text: (Exception("said " + text), ()),
    ],
)
@pytest.mark.contract("lines-cannot-be-forged")
def test_no_value_in_a_line_of_a_library_can_pass_for_another_line(caplog, arguments, forgery):
    message, args = arguments(f"http://me:{CANARY}@x{forgery}")
    library().warning(message, *args)
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert record.getMessage().startswith("said ")
    assert CANARY not in record.getMessage()


class Mapping(dict):
    def __getitem__(self, key):
        raise ValueError(CANARY)

    items = __iter__ = __getitem__


@pytest.mark.parametrize(
    "args",
    [
        ("%s", Mute()),
        ("%s %s", Mute(), f"http://me:{CANARY}@x"),
        ("%(a)s", Mapping(a=CANARY)),
        (Mute(),),
    ],
)
@pytest.mark.contract("telling-is-harmless")
def test_what_a_library_logs_without_text_is_shown_without(args):
    record = logging.LogRecord("x", logging.INFO, "f", 1, args[0], args[1:], None)
    assert library().filter(record)
    shown = record.getMessage()
    assert CANARY not in shown
