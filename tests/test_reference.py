"""The reference is whole: every public name, argument, error, hook, event, setting and log line."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import logging
import re
import sys
from contextlib import suppress
from enum import Enum
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from pydantic import BaseModel
from structlog.contextvars import bound_contextvars

import flext_plugins
from flext_plugins import Host, Refused, Secret, events, hookimpl, hookspecs
from flext_plugins._call import _tell_replaced
from flext_plugins.testing import Answer

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import settings_reference  # noqa: E402

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("contrib/*/README.md")),
]
INDEX = ROOT / "docs/reference/README.md"
CONTRIB = sorted(path.parent.name for path in ROOT.glob("contrib/*/flext_plugins_*/__init__.py"))
MODULES = [
    "flext_plugins",
    "flext_plugins.hookspecs",
    "flext_plugins.hookspecs.typing",
    "flext_plugins.events",
    "flext_plugins.http",
    "flext_plugins.redaction",
    "flext_plugins.status",
    "flext_plugins.testing",
    "flext_plugins.cli",
    *CONTRIB,
]
EVENTS = [name for name in events.__all__ if dataclasses.is_dataclass(getattr(events, name))]
HOOKS = [name for name in hookspecs.__all__ if name.startswith("flext_")]
TABLES = settings_reference.models()
ROW = re.compile(r"^\| \[`(\w+)`\]\(([^)#]*)#([^)]+)\)", re.MULTILINE)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INTERNAL = {
    *("Call.check", "Request.around", "Request.fields", "Response.unwrapped"),
    *("Fault.response", "Fault.spoil", "Retry.uniform"),
    *("AsyncOracleDatabase.begin", "AsyncTransaction.commit", "AsyncTransaction.rollback"),
}
"""What modules of one distribution use of each other's classes."""
SOURCES = [*ROOT.glob("flext_plugins/**/*.py"), *ROOT.glob("contrib/*/flext_plugins_*/**/*.py")]
READ_OFF = {"Settings", "stage", "before", "after", "observer", "fail_closed", "identifies"}
"""What the host reads off every plugin's class; hooks.md says it once."""


@cache
def text_of(page):
    return page.read_text(encoding="utf-8")


@cache
def sections(page):
    """The text below each heading, its subsections included, by the anchor that GitHub makes."""
    text = FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text_of(page))
    headings = [*HEADING.finditer(text)]
    found = {}
    for at, heading in enumerate(headings):
        end = next(
            (each.start() for each in headings[at + 1 :] if len(each[1]) <= len(heading[1])),
            len(text),
        )
        name = re.sub(r"[^\w\- ]", "", heading[2].lower()).replace(" ", "-")
        number = sum(each == name or each.startswith(f"{name}-") for each in found)
        found[f"{name}-{number}" if name in found else name] = text[heading.start() : end]
    return found


def words(text):
    """Every word that stands in `code`."""
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", code)}


@cache
def index():
    """The rows of the index: module -> name -> (page, anchor)."""
    found = {}
    for part in re.split(r"^## ", text_of(INDEX), flags=re.MULTILINE)[1:]:
        module = part.splitlines()[0].strip("`")
        found[module] = {
            name: ((INDEX.parent / page).resolve() if page else INDEX, anchor)
            for name, page, anchor in ROW.findall(part)
        }
    return found


def public(module):
    return list(import_module(module).__all__)


NAMES = [(module, name) for module in MODULES for name in public(module)]


@pytest.mark.parametrize("module", MODULES)
def test_the_index_has_every_public_name_and_no_other(module):
    assert sorted(index()[module]) == sorted(public(module))


def test_the_index_has_no_other_modules():
    assert [*index()] == MODULES


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda name: name)
def test_every_public_name_is_explained_where_the_index_says(module, name):
    page, anchor = index()[module][name]
    section = sections(page)[anchor]
    value = getattr(import_module(module), name)
    assert name in words(section)
    assert sorted({*members(name, value)} - words(section)) == []


def members(name, value):
    """What has to be said of a public name: its fields, methods, arguments, errors."""
    if inspect.isfunction(value):
        yield from said_of(value)
    if not isinstance(value, type):
        return
    yield from listed(value, "Args", "Attributes", "Raises")
    if issubclass(value, Enum):
        yield from value.__members__
    elif issubclass(value, BaseModel):
        yield from (field.alias or name for name, field in value.model_fields.items())
    elif issubclass(value, Exception):  # what it has from another is told there
        yield from own(value)
    else:
        for base in value.__mro__:
            if base.__module__.startswith("flext_plugins"):
                yield from own(base)


def own(value):
    """What a class itself declares."""
    is_plugin = any(each.startswith("flext_") for each in vars(value))
    if issubclass(value, Exception) and "__init__" in vars(value):
        yield from said_of(value.__init__)
    for each in {**vars(value).get("__annotations__", {}), **vars(value)}:
        is_internal = f"{value.__name__}.{each}" in INTERNAL or (is_plugin and each in READ_OFF)
        if not each.startswith(("_", "flext_", "test_")) and not is_internal:
            yield each
            yield from said_of(vars(value).get(each))


def said_of(function):
    """The arguments of a function or method, and the errors that its docstring lists."""
    function = getattr(function, "__func__", function)
    if inspect.isfunction(function):
        for each in inspect.signature(function).parameters.values():
            if each.name not in {"self", "cls"} and each.name[0] != "_":
                yield each.name
        yield from listed(function, "Raises")


def listed(value, *kinds):
    """The names in these sections of a docstring."""
    lines = inspect.getdoc(value) or ""
    for kind in kinds:
        for block in re.findall(rf"^{kind}:\n((?: +.*\n?)+)", lines, re.MULTILINE):
            yield from re.findall(r"^    (\w+): ", block, re.MULTILINE)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_arguments(hook):
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"`{hook}({arguments})`" in text_of(ROOT / "docs/reference/hooks.md")


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_used_by_a_test(hook):
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    assert f"def {hook}(" in tests


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_is_documented_with_its_fields(event):
    page = text_of(ROOT / "docs/reference/events.md")
    names = [each.name for each in dataclasses.fields(getattr(events, event))]
    assert f"`{event}({', '.join(names)})`" in page
    explained = re.findall(r"^\| (`\w+`.*?) +\|", page.partition("## Fields")[2], re.MULTILINE)
    assert {*names} <= {"call", *re.findall(r"`(\w+)`", " ".join(explained))}


def test_every_error_is_in_the_tree():
    page = text_of(ROOT / "docs/reference/errors.md")
    tree = re.search(r"^```\n(FlextError.*?)^```", page, re.MULTILINE | re.DOTALL)
    values = {name: getattr(flext_plugins, name) for name in flext_plugins.__all__}
    errors = {
        name
        for name, value in values.items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert set(re.findall(r"[A-Z]\w+(?=  |\n)", tree[1])) >= errors


def test_the_tables_of_settings_are_those_of_the_models():
    for page, text in settings_reference.pages():
        assert text == text_of(page), f"python tools/settings_reference.py, for {page.name}"


def test_the_configuration_has_a_table_of_its_settings():
    assert {"flext_plugins.HostConfig", "flext_plugins.ServiceConfig"} <= {*TABLES}


@pytest.mark.parametrize("module", CONTRIB)
def test_every_plugin_with_settings_has_a_table_of_them(module):
    loaded = import_module(module)
    for name in loaded.__all__:
        settings = getattr(getattr(loaded, name), "Settings", None)
        if settings is not None:
            assert f"{module}.{settings.__name__}" in TABLES


@pytest.mark.parametrize("name", TABLES)
def test_every_setting_has_a_meaning(name):
    model = settings_reference.model(name)
    meanings = settings_reference.meanings(model)
    assert issubclass(model, BaseModel)
    assert [each for each in model.model_fields if not meanings.get(each)] == []


@pytest.mark.parametrize("name", TABLES)
def test_every_number_has_a_greatest(name):
    numbers = list(_numbers(settings_reference.model(name).model_json_schema(), name))
    assert [where for where, schema in numbers if "maximum" not in schema] == []


def _numbers(schema, where):
    """What a schema says of each number that it allows, and where."""
    if isinstance(schema, dict):
        if schema.get("type") in ("integer", "number"):
            yield where, schema
        for key, value in schema.items():
            if key != "additionalProperties":  # what is handed on as it is
                yield from _numbers(value, f"{where}.{key}")
    if isinstance(schema, list):
        for each in schema:
            yield from _numbers(each, where)


def links():
    """Each link to a place in a page of ours: from which page, to which, at which heading."""
    for page in PAGES:
        text = FENCE.sub("", text_of(page))
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
            yield page, (page.parent / target).resolve() if target else page, anchor


def test_every_link_leads_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {target.name}#{anchor}"
        for page, target, anchor in links()
        if not target.exists()
        or (anchor and target.suffix == ".md" and anchor not in places(target))
    ]
    assert broken == []


def places(page):
    """Where a link may lead in a page: its headings, and what has an anchor of its own."""
    return {*sections(page), *re.findall(r'<a (?:id|name)="([^"]+)"', text_of(page))}


def logged():
    """Each log line of ours, as (level, text with its placeholders), read from the sources."""
    for path in SOURCES:
        source, constants = path.read_text(encoding="utf-8"), {}
        for node in ast.walk(ast.parse(source)) if "log" in source else ():
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                constants[ast.unparse(node.targets[0])] = node.value.value
            function = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if function not in {"log", "self.write", "self._log.write", "self._warn"}:
                continue
            level, text = ast.unparse(node.args[0]), node.args[1]
            if function == "self._warn":  # whose first argument is what it is about
                level = "WARNING"
            if level != "level":  # else it hands on what it was given
                value = text.value if isinstance(text, ast.Constant) else constants[text.id]
                yield level.removeprefix("logging."), value


def log_lines():
    """The rows of the reference: level, line, keys."""
    page = text_of(ROOT / "docs/reference/logs.md")
    rows = re.findall(r"^\| `([A-Z]+)` +\| `(.+?)` +\|.*\|(.*)\|$", page, re.MULTILINE)
    return [(level, line, re.findall(r"`(\w+)`", keys)) for level, line, keys in rows]


def test_every_log_line_is_in_the_reference_and_no_other():
    shown = [(level, re.sub(r"<\w+>", "{}", line)) for level, line, _ in log_lines()]
    assert sorted(shown) == sorted({*logged()})


def test_nothing_of_ours_logs_in_another_way():
    loggers = [
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if re.search(r"\bget_?logger\(", path.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert sorted(loggers) == [
        "contrib/devstack/flext_plugins_devstack/cli.py",  # where the demo silences ours
        "contrib/oracle/flext_plugins_oracle/plugin.py",  # a database that is down at the start
        "flext_plugins/_logging.py",
        "flext_plugins/cli/_commands.py",  # where ours is silenced
        "flext_plugins/cli/_new.py",  # where cookiecutter is silenced
    ]


class Opens:
    """Says that a circuit has opened."""

    @hookimpl
    def flext_request(self, connection):
        connection.emit(events.StateChanged("breaker", "http://x", "closed", "open", "5 failures"))


class Refuses:
    """Refuses to send."""

    @hookimpl
    def flext_request(self):
        raise Refused("maintenance")


class Breaks:
    """Observes, and fails."""

    observer = True

    @hookimpl
    def flext_request(self):
        raise KeyError("a mistake")


class Replaces:
    """Answers in place of the service, whose answer cannot be closed."""

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        response = await send(request)
        response.native.stream.close = Breaks.flext_request.__get__(self)
        return connection.respond(203)


class Nothing:
    """Does nothing, while a correlation id is bound that cannot be sent."""

    @hookimpl
    def flext_request(self):
        pass


class Fails(Nothing):
    """Stands before a service that hangs up."""

    answer = Answer(reset=True)


class Resends:
    """Sends twice."""

    @hookimpl
    async def flext_exchange(self, request, send):
        await send(request)
        return await send(request)


class Tokenless:
    """Has got no token."""

    @hookimpl
    def flext_request(self, connection):
        connection.emit(events.TokenFetched("login", "failed", 0.1, "answered 503"))


class Stale:
    """Reads a secret's file that is gone the second time."""

    @hookimpl
    def flext_request(self):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "secret"
            path.write_text("value")
            secret = Secret(f"file:{path}")
            secret.get_secret_value()
            path.unlink()
            secret.get_secret_value()


class Unread(Nothing):
    """Lets an answer through whose body nobody has read when the host is closed."""


PLUGINS = {
    "call": Fails,
    "closed": Unread,
    "sent": Resends,
    "no": Tokenless,
    "<target>": Opens,
    "<file>": Stale,
    "refused": Refuses,
    "<class>": Breaks,
    "closing": Replaces,
    "correlation_id": Nothing,
}
"""What makes the host log the line that begins so."""


@pytest.mark.parametrize(
    ("level", "line", "keys"), log_lines(), ids=[line.split()[0] for _, line, _ in log_lines()]
)
def test_a_log_line_has_the_level_and_the_keys_that_the_reference_says(
    flext_service, caplog, level, line, keys
):
    caplog.set_level(logging.DEBUG, "flext_plugins")
    _tell_replaced.cache_clear()
    plugin = PLUGINS[re.match(r"<?\w+>?", line)[0]]
    bound = {"correlation_id": "no id"} if plugin is Nothing else {}
    flext_service.answer = getattr(plugin, "answer", Answer())
    services = {"a": {"base_url": flext_service.url, "plugins": {"p": {}}}}
    with Host({"services": services}) as host, bound_contextvars(**bound):
        host.register(plugin, "p")
        client = host.connect("a")
        with suppress(Refused, httpx.TransportError):
            client.send(client.build_request("GET", "/"), stream=plugin is Unread)

    (record,) = [each for each in caplog.records if each.name == "flext_plugins"]
    text, _, shown = record.getMessage().partition("  ")
    assert record.levelname == level
    assert re.fullmatch(re.sub(r"<\w+>", ".+", line), text)
    assert re.findall(r"(\w+)=", shown) == (keys or [*bound])
    assert {*keys} <= {*vars(record)}
