"""What imports what, how much it loads, and how big it may grow: the map of the house, kept true."""

import ast
import dataclasses
import inspect
import pickle
import re
import subprocess
import sys
import tomllib
import types
import typing
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from pydantic import BaseModel

import flext_plugins

ROOT = Path(__file__).parents[1]
CORE = ROOT / "flext_plugins"
MODULES = sorted(CORE.rglob("*.py"))
CONTRIB = sorted((ROOT / "contrib").glob("*/flext_plugins_*/**/*.py"))
PACKAGES = sorted((ROOT / "contrib").glob("*/flext_plugins_*"))
EXAMPLES = sorted(
    each for at in (".", "pipeline") for each in (ROOT / "examples" / at).glob("*.py")
)
CLIENTS = sorted((CORE / "_clients").rglob("*.py"))

LAYERS = (
    {"hookspecs"},
    {"_discovery", "_errors", "_logging", "_masking", "_messages", "_publication", "_version"}
    | {"http", "redaction"},
    {"_call", "_service", "_wire"},
    {"_config"},
    {"_deadline", "_permits", "_waiting", "events"},
    {"_chain"},
    {"_connections"},
    {"_composition"},
    {"_clients"},
    {"_runtime", "_service_errors"},
    {"status", "_health", "_status_app", "_status_page"},
    {"_host"},
    {"cli", "testing"},
)
"""Bottom first; a module may import its own layer and those below."""
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
LIBRARIES = {"httpx", "httpx2", "requests"}
PUBLIC = [
    "AnswerTooLong",
    "Call",
    "ConfigError",
    "Connection",
    "DeadlineExceeded",
    "Failure",
    "FlextError",
    "Host",
    "HostConfig",
    "InstalledPlugin",
    "Operation",
    "Permit",
    "PluginConflict",
    "PluginError",
    "PluginIncompatible",
    "PluginNotFound",
    "Proceed",
    "Refused",
    "Request",
    "Response",
    "Seconds",
    "Secret",
    "Send",
    "Service",
    "ServiceConfig",
    "ServiceError",
    "ServiceName",
    "ServiceURL",
    "Stage",
    "Status",
    "events",
    "hookimpl",
    "installed",
    "options",
    "raise_for_status",
]


PUBLIC_MODULES = {
    "flext_plugins",
    *("flext_plugins.cli", "flext_plugins.events", "flext_plugins.hookspecs"),
    *("flext_plugins.hookspecs.typing", "flext_plugins.http", "flext_plugins.redaction"),
    *("flext_plugins.status", "flext_plugins.testing"),
}
"""Who imports anything else of ours imports what may change with any release."""


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def at(path, node=None):
    return f"{path.relative_to(ROOT)}" + (f":{node.lineno}" if node is not None else "")


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that can run: those under `if TYPE_CHECKING` are left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from (other, *walk(other))
            continue
        yield child
        yield from walk(child)


def folder(path):
    """The folder that the top package of a module of ours is in."""
    return next(each.parent for each in path.parents if each.name.startswith("flext_plugins"))


def imports(path):
    """What a module imports at run time, relative ones made absolute: (module, names, node)."""
    package = [*path.relative_to(folder(path)).parts]
    for node in walk(tree(path)):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield each.name, (), node
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield module, tuple(each.name for each in node.names), node


def targets(path):
    """The modules of ours, directly under `flext_plugins`, that a module imports at run time."""
    for module, names, node in imports(path):
        parts = module.split(".")
        if parts[0] != "flext_plugins":
            continue
        if len(parts) > 1:
            yield parts[1], node
        elif names:
            for name in names:
                yield (name if name in RANK else "flext_plugins"), node
        else:
            yield "flext_plugins", node


def own(path):
    """Which of the modules under `flext_plugins` a file belongs to."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def run(code):
    """What `code` prints in a fresh Python."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def loaded_by(code, *names):
    """Which of `names` a fresh Python has loaded after `code`."""
    look = f"{code}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    return run(look).split()


def test_importing_the_package_loads_no_library_that_takes_long():
    heavy = ("httpx", "pydantic", "structlog", "asyncio", "yaml", "typer", "rich")
    assert loaded_by("import flext_plugins", *heavy) == []


def test_looking_at_what_is_installed_loads_neither_httpx_nor_pydantic():
    code = "import flext_plugins; flext_plugins.installed()"
    assert loaded_by(code, "httpx", "pydantic", "structlog", "asyncio") == []


@pytest.mark.parametrize("module", ["http", "redaction"])
def test_what_plugins_need_to_know_loads_no_library(module):
    heavy = ("httpx", "pydantic", "structlog", "asyncio", "idna")
    assert loaded_by(f"import flext_plugins.{module}", *heavy) == []


def test_a_host_that_connects_to_nothing_loads_no_client_library():
    code = "import flext_plugins; flext_plugins.Host({'services': {'a': {}}}).check()"
    assert loaded_by(code, "httpx", "yaml") == []


def test_the_public_names_are_these_and_all_resolve():
    assert flext_plugins.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(flext_plugins, name) is not None
    assert set(PUBLIC) <= set(dir(flext_plugins))


def public_modules():
    """The modules that anyone may import: neither their name nor a package's begins with `_`."""
    for path in MODULES:
        parts = path.relative_to(CORE.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(each.startswith("_") for each in parts):
            yield ".".join(parts)


def test_the_public_modules_are_these():
    assert set(public_modules()) == PUBLIC_MODULES


def offered(module):
    """The public names of a public module with what they stand for."""
    loaded = import_module(module)
    names = getattr(loaded, "__all__", [name for name in vars(loaded) if name[0] != "_"])
    for name in names:
        value = getattr(loaded, name)
        if isinstance(value, (type, types.FunctionType)):
            yield name, value


@pytest.mark.parametrize("module", sorted(PUBLIC_MODULES))
def test_what_a_public_module_offers_says_that_it_is_of_a_public_module(module):
    for name, value in offered(module):
        assert not value.__module__.startswith("flext_plugins.") or (
            value.__module__ in PUBLIC_MODULES
        ), name


def test_what_the_package_offers_says_that_it_is_of_the_package():
    assert {value.__module__ for _, value in offered("flext_plugins")} == {"flext_plugins"}


def test_an_error_says_so_even_if_nobody_asked_for_its_name_before():
    code = (
        "import flext_plugins\n"
        "try: flext_plugins.Host({'services': 3})\n"
        "except Exception as error: print(type(error).__module__)\n"
    )
    assert loaded_by(code)[:1] == ["flext_plugins"]


@pytest.mark.parametrize("module", sorted(PUBLIC_MODULES))
def test_the_type_hints_of_every_public_class_can_be_resolved(module):
    for name, value in offered(module):
        if isinstance(value, type):
            assert (
                typing.get_type_hints(value).keys() >= vars(value).get("__annotations__", {}).keys()
            ), name


@pytest.mark.parametrize(
    "value",
    [
        flext_plugins.Refused("maintenance", retry_after=30),
        flext_plugins.ConfigError("two problems", ["one", "two"]),
        flext_plugins.Call("flexcore"),
        flext_plugins.Operation("ldap", "search", "localhost:389"),
        flext_plugins.Stage.GUARD,
        flext_plugins.Failure.READ,
        flext_plugins.HostConfig.model_validate({"services": {"a": {"base_url": "http://a"}}}),
        flext_plugins.events.StateChanged("breaker", "a", "closed", "open", "5 of 5 failed"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_can_be_pickled_is_found_again_under_its_public_name(value):
    text = pickle.dumps(value)
    assert b"flext_plugins._" not in text.replace(b"flext_plugins._config", b"")
    assert type(pickle.loads(text)) is type(value)


def test_a_host_shows_the_methods_that_are_documented():
    shown = {name for name in dir(flext_plugins.Host({})) if not name.startswith("_")}
    assert shown == {
        *("aclose", "aconnect", "ahealth", "aresource", "check", "close", "connect", "explain"),
        *("from_file", "health", "provide", "register", "resource", "services", "status"),
        "transport",
    }
    documented = (ROOT / "docs/reference/host.md").read_text(encoding="utf-8")
    for name in shown:
        assert inspect.getdoc(getattr(flext_plugins.Host, name))
        assert re.search(rf"\b(host|Host)\.{name}\b", documented), name


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nobody'"):
        _ = flext_plugins.nobody


@pytest.mark.once
def test_type_checkers_see_every_public_name():
    source = tree(CORE / "__init__.py")
    said = {
        each.asname or each.name
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    assert set(PUBLIC) <= said


@pytest.mark.once
def test_every_module_has_its_place_in_the_layers():
    assert {own(path) for path in MODULES} - {"__init__"} <= set(RANK)


@pytest.mark.once
@pytest.mark.parametrize("path", MODULES, ids=at)
def test_imports_point_down(path):
    me = own(path)
    if me == "__init__":
        assert {target for target, _ in targets(path)} <= {"hookspecs", "_publication", "_version"}
        return
    wrong = [
        f"{at(path, node)}: {me} imports {target}"
        for target, node in targets(path)
        if RANK.get(target, -1) > RANK[me]
    ]
    assert wrong == []


@pytest.mark.once
@pytest.mark.parametrize("path", MODULES, ids=at)
def test_the_package_itself_is_imported_only_for_its_version(path):
    if own(path) in {"cli", "testing"}:
        return
    for module, names, node in imports(path):
        if module == "flext_plugins":
            assert set(names) <= {"__version__", *RANK}, at(path, node)
            assert names, at(path, node)


@pytest.mark.once
@pytest.mark.parametrize("path", [*MODULES, *CONTRIB], ids=at)
def test_nothing_imports_the_kit_and_the_kit_not_the_command(path):
    wanted = {target for target, _ in targets(path)}
    if path in MODULES and own(path) == "testing":
        assert "cli" not in wanted
    else:
        assert "testing" not in wanted


@pytest.mark.once
def test_the_hook_specifications_need_only_pluggy():
    for path in sorted((CORE / "hookspecs").glob("*.py")):
        roots = {module.split(".")[0] for module, _, _ in imports(path)}
        assert roots - sys.stdlib_module_names <= {"pluggy", "flext_plugins"}
        assert {target for target, _ in targets(path)} <= {"hookspecs"}


@pytest.mark.once
def test_only_the_client_modules_import_a_client_library():
    found = [
        (own(path), path, node)
        for path in MODULES
        for module, _, node in imports(path)
        if module.split(".")[0] in LIBRARIES and own(path) != "_clients"
    ]
    assert {name for name, _, _ in found} <= {"_host", "cli", "testing"}
    for _, path, node in found:
        assert node not in tree(path).body, at(path, node)
        assert isinstance(node, ast.Import), at(path, node)


@pytest.mark.once
@pytest.mark.parametrize("path", MODULES, ids=at)
def test_the_core_names_no_plugin_package(path):
    assert re.findall(r"flext_plugins_[a-z]\w*", path.read_text(encoding="utf-8")) == []


@pytest.mark.once
@pytest.mark.parametrize("path", CONTRIB, ids=at)
def test_our_distributions_use_public_names_of_the_core_only(path):
    for module, names, node in imports(path):
        root, *rest = module.split(".")
        if root == "flext_plugins":
            assert rest in ([], ["events"], ["http"], ["redaction"]), at(path, node)
            assert set(names) <= set(import_module(module).__all__), at(path, node)


def project(package):
    """What `pyproject.toml` says of the distribution that a package belongs to."""
    return tomllib.loads((package.parent / "pyproject.toml").read_text("utf-8"))["project"]


def required(texts):
    """The distributions of ours among requirements, by the names of their packages."""
    names = {Requirement(each).name.replace("-", "_") for each in texts}
    return {each for each in names if each.startswith("flext_plugins_")}


def is_plugin(package):
    return "flext_plugins" in project(package).get("entry-points", {})


def others(path):
    """What a module imports at run time of our other distributions."""
    me = folder(path).joinpath(path.relative_to(folder(path)).parts[0]).name
    for module, names, node in imports(path):
        root, *rest = module.split(".")
        if root.startswith("flext_plugins_") and root != me:
            yield root, rest, names, node


def modules(packages):
    return [path for package in packages for path in sorted(package.rglob("*.py"))]


PLUGINS = [each for each in PACKAGES if is_plugin(each)]
PROGRAMS = [each for each in PACKAGES if not is_plugin(each)]


@pytest.mark.once
def test_devstack_is_a_program_and_the_others_are_plugins():
    assert [each.name for each in PROGRAMS] == ["flext_plugins_devstack"]


@pytest.mark.once
@pytest.mark.parametrize("path", modules(PLUGINS), ids=at)
def test_a_plugin_imports_no_other_distribution_of_ours(path):
    """They work together, and know each other by what the host passes on alone."""
    assert [at(path, node) for *_, node in others(path)] == []


@pytest.mark.once
@pytest.mark.parametrize("package", PLUGINS, ids=lambda package: package.name)
def test_a_plugin_requires_no_other_distribution_of_ours(package):
    optional = project(package).get("optional-dependencies", {}).values()
    assert required([*project(package)["dependencies"], *chain(*optional)]) == set()


@pytest.mark.once
@pytest.mark.parametrize("path", modules(PROGRAMS), ids=at)
def test_a_program_imports_public_names_of_plugins_when_it_needs_them(path):
    for root, rest, names, node in others(path):
        assert rest == [], at(path, node)
        assert node not in tree(path).body, f"{at(path, node)}: import it where it is used"
        assert names, at(path, node)
        assert set(names) <= set(import_module(root).__all__), at(path, node)


@pytest.mark.once
@pytest.mark.parametrize("package", PROGRAMS, ids=lambda package: package.name)
def test_a_program_requires_plugins_as_optional_dependencies(package):
    optional = project(package)["optional-dependencies"].values()
    assert required(project(package)["dependencies"]) == set()
    imported = {root for path in package.rglob("*.py") for root, *_ in others(path)}
    assert imported <= required(chain(*optional))


@pytest.mark.once
@pytest.mark.parametrize("path", EXAMPLES, ids=at)
def test_an_example_imports_public_names_only(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flext_plugins"):
            root, *rest = node.module.split(".")
            assert rest == [] if root != "flext_plugins" else node.module in PUBLIC_MODULES
            home = import_module(node.module)
            names = {each.name for each in node.names}
            assert names <= set(getattr(home, "__all__", vars(home))), at(path, node)
            assert not any(name.startswith("_") for name in names), at(path, node)


@pytest.mark.once
@pytest.mark.parametrize("path", CLIENTS, ids=at)
def test_no_private_attribute_of_a_client_library_is_used(path):
    mine = {"self", "cls"} | {
        name.id
        for node in tree(path).body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for name in ast.walk(node)
        if isinstance(name, ast.Name)
    }
    named_tuple = {"_asdict", "_replace", "_fields", "_make"}
    for node in ast.walk(tree(path)):
        name, owner = None, None
        if isinstance(node, ast.Attribute):
            name, owner = node.attr, node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "setattr"}:
            owner, key = node.args[:2]
            name = key.value if isinstance(key, ast.Constant) else None
        if name is None or not name.startswith("_") or name in named_tuple:
            continue
        private = not (name.startswith("__") and name.endswith("__"))
        ours = isinstance(owner, ast.Name) and owner.id in mine
        assert ours or not private, f"{at(path, node)}: {ast.unparse(node)}"


@pytest.mark.once
@pytest.mark.parametrize("path", [*MODULES, *CONTRIB], ids=at)
def test_no_module_is_longer_than_can_be_read(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 500


def length(function):
    """A function's lines, its docstring's not counted."""
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


@pytest.mark.once
@pytest.mark.parametrize("path", [*MODULES, *CONTRIB], ids=at)
def test_no_function_is_longer_than_a_screen(path):
    functions = [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    long = {f"{each.name}: {length(each)}" for each in functions if length(each) > 40}
    assert long == set()


def module(path):
    """A file's name as a module."""
    parts = path.relative_to(folder(path)).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circle(package):
    """Modules of a package of which each imports the next at run time, in functions too."""
    graph = {module(path): set() for path in package.rglob("*.py")}
    for path in package.rglob("*.py"):
        for target, names, _ in imports(path):
            inside = {f"{target}.{each}" for each in names}
            graph[module(path)] |= (inside & graph.keys()) or ({target} & graph.keys())
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.mark.once
@pytest.mark.parametrize("package", [CORE, *PACKAGES], ids=lambda package: package.name)
def test_no_modules_import_each_other_in_a_circle(package):
    assert circle(package) == []


@pytest.mark.once
@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from .b import b", ["a", "b"]),
        ("def f():\n    from . import b", ["a", "b"]),
        ("import flext_plugins_x.b", ["a", "b"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import b", []),
    ],
)
def test_a_circle_is_seen_in_functions_too_and_not_where_only_type_checkers_look(
    tmp_path, source, names
):
    package = tmp_path / "flext_plugins_x"
    package.mkdir()
    (package / "__init__.py").write_text("from . import a, b")
    (package / "a.py").write_text(source)
    (package / "b.py").write_text("from .a import f")
    assert {*circle(package)} == {f"flext_plugins_x.{each}" for each in names}


def test_ldap_loads_ldif_only_when_it_is_used():
    ldif = "flext_plugins_ldap.ldif"
    assert loaded_by("import flext_plugins_ldap", ldif) == []
    assert loaded_by("import flext_plugins_ldap; flext_plugins_ldap.ldif.read", ldif) == [ldif]
    assert loaded_by("from flext_plugins_ldap import ldif", ldif) == [ldif]


def public(package):
    """The public classes and functions of a package, by name."""
    home = import_module(package.name)
    values = {each: getattr(home, each) for each in home.__all__}
    return {
        each: value
        for each, value in values.items()
        if inspect.isclass(value) or inspect.isroutine(value)
    }


EXAMPLES = {
    "flext_plugins_auth": "AuthSettings(scheme='mtls')",
    "flext_plugins_circuit_breaker": (
        "CircuitBreakerSettings(), CircuitOpen('open', retry_after=1.5), Counts(4, 3, 2, 1, 0), State.OPEN"
    ),
    "flext_plugins_devstack": "Fault(status=503), NotInstalled('no'), TokenError('no')",
    "flext_plugins_ldap": (
        "AccountExpired(), AccountLocked(), AuthenticationFailed(), DirectoryError('no', 50),"
        "DirectoryUnavailable('down'), InvalidCredentials(), UserNotFound(),"
        "Entry('dc=test', {'dc': ('test',)}), UpsertResult('dc=test', 'added'), User('ana', '', {}),"
        "ldif.Change('add', 'cn'), ldif.Delete('dc=test'), ldif.Modify('dc=test', ()),"
        "ldif.LdifError('file', 1, 'malformed')"
    ),
    "flext_plugins_meltano": (
        "ExecutionStatus('7', 'failed', {'people': 3}), MeltanoSettings(), PipelineError('no', 422),"
        "PipelinesUnavailable('down'), RunCancelled('ended', ExecutionStatus('7', 'cancelled')),"
        "RunFailed('no', ExecutionStatus('7', 'failed')), StillRunning('on', ExecutionStatus('7', 'running'))"
    ),
    "flext_plugins_metrics": "NAMES",
    "flext_plugins_oracle": (
        "BadRow(7, 'ORA-00001', 'exists'), ConstraintViolated('no', 'ORA-00001'), DatabaseError('no'),"
        "DatabaseHealth('db:1521', '23', 0.1, Usage(1, 2, 4, 0)), DatabaseUnavailable('down'),"
        "LoadReport('t', 1, 0, (), 1, 0.5), OutcomeUnknown('lost'), RowRefused('no', None, BadRow(1, None, ''))"
    ),
    "flext_plugins_retry": "RetrySettings()",
    "flext_plugins_tracing": "TracingSettings()",
}
"""Errors, records and settings that somebody may pickle."""


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_what_is_public_has_its_home_where_it_is_imported_from(package):
    values = public(package)
    assert {each.__module__ for each in values.values()} == {package.name}
    for each in values.values():
        assert pickle.loads(pickle.dumps(each)) is each
        is_record = dataclasses.is_dataclass(each) or hasattr(each, "_fields")
        if is_record or (inspect.isclass(each) and issubclass(each, BaseModel)):
            assert typing.get_type_hints(each)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_pickled_errors_records_and_settings_load_in_another_process(package):
    code = f"from {package.name} import *; each = [{EXAMPLES[package.name]}]; import pickle, sys; "
    shown = "[type(one) for one in each], *map(repr, each), [vars(one) for one in each if isinstance(one, Exception)]"
    dump = code + f"print(repr((pickle.dumps(each), repr(({shown},)))))"
    pickled, expected = ast.literal_eval(run(dump))
    load = f"import pickle; each = pickle.loads({pickled!r}); print(repr(({shown},)))"
    assert run(load).strip() == expected


PARTICIPLES = {"asked", "found", "given", "made", "said", "told"}


def names_of(path):
    """The names of a module's functions and classes, and of the attributes they have."""
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            yield from ((each.target.id, each) for each in fields)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node


@pytest.mark.once
@pytest.mark.parametrize("path", [*MODULES, *CONTRIB], ids=at)
def test_a_name_says_what_something_is_and_not_how_it_came(path):
    assert [at(path, node) for name, node in names_of(path) if name.strip("_") in PARTICIPLES] == []


@pytest.mark.once
@pytest.mark.parametrize("path", [*MODULES, *CONTRIB], ids=at)
def test_a_docstring_begins_with_a_verb_or_a_noun(path):
    documented = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in ast.walk(tree(path)):
        text = ast.get_docstring(node) if isinstance(node, documented) else None
        headless = re.match(r"(What|Who|Where|How|The same|Of|As) ", text or "")
        assert not headless, f"{at(path)}: {text}"


ALONE = """
import os, sys
from importlib import import_module
from flext_plugins import Host

library, client, url = sys.argv[1:]
os.environ["TOKEN"] = "secret"
auth = {"scheme": "bearer", "token": "env:TOKEN"}
plugins = {"auth": auth, "circuit-breaker": {}, "metrics": {}, "retry": {}, "tracing": {}}
with Host({"services": {"api": {"base_url": url, "plugins": plugins}}}) as host:
    print(host.connect("api", getattr(import_module(library), client)).get("/").status_code)
print(*sorted({"httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3"} & {*sys.modules}))
"""


@pytest.mark.once
@pytest.mark.parametrize(
    ("library", "client", "imported"),
    [
        ("httpx", "Client", "httpcore httpx"),
        ("httpx2", "Client", "httpcore2 httpx2"),
        ("requests", "Session", "requests urllib3"),
    ],
)
def test_a_program_imports_no_client_library_but_its_own(flext_service, library, client, imported):
    ran = subprocess.run(
        [sys.executable, "-c", ALONE, library, client, flext_service.url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.stdout.split("\n") == ["200", imported, ""], ran.stderr
