"""The act of the demo with a database, which is loaded, fails and recovers."""

import json
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from flext_plugins import FlextError, Host, Refused, installed
from flext_plugins_devstack import oracle, postgres
from flext_plugins_devstack.oracle import OracleCompatibleServer
from flext_plugins_devstack.process import NotInstalled
from flext_plugins_devstack.stack import Devstack

from .checks import CONFIG, Skipped, environment, expect

if TYPE_CHECKING:
    from flext_plugins_oracle import OracleDatabase
    from prometheus_client import CollectorRegistry

THRESHOLD = 3
MOST = 10  # questions until the circuit refuses one
USER, PASSWORD = "DEMO_DATABASE_USER", "DEMO_DATABASE_PASSWORD"
TABLE = "create table orders (id number(9) primary key, item varchar2(12) not null)"
RECORDS = 200
BAD = {
    17: ({"id": 17}, "ORA-01400"),  # nothing where something has to be
    58: ({"id": 57, "item": "sheet metal"}, "ORA-00001"),  # a key that exists
    144: ({"id": 144, "item": "a pneumatic drill"}, "ORA-12899"),  # too long
}
"""The records that no table would take, by number, with what Oracle says of each."""
MEASURED = ("db_client_operation_duration_seconds_count", "db_client_connection_", "flext_breaker_")
POOL = {"idle": 1.0, "used": 0.0}


def database(_: Devstack) -> Iterator[str]:
    """Load records into a database, kill it, bring it back, and show what was measured."""
    if missing := "; ".join(_missing()):
        raise Skipped(missing)
    # Not before: the first act shows that no plugin has been imported.
    from flext_plugins_oracle import OracleDatabase  # noqa: PLC0415
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    with ExitStack() as opened:
        server = opened.enter_context(OracleCompatibleServer())
        laid_over = _variables(server)
        for name, value in laid_over.items():
            yield f"{name}={value}" if name.startswith("FLEXT__") else f"{name}=***"
        opened.enter_context(environment(laid_over))
        host = opened.enter_context(Host.from_file(CONFIG))
        registry = CollectorRegistry()
        host.provide(CollectorRegistry, registry)
        shop = host.resource("shop", OracleDatabase)
        yield from _load(shop)
        wait = yield from _refusals(server, host, shop)
        server.up()
        yield f"the server, process {server.pid}, is there again"
        time.sleep(wait)
        yield from _recovery(server, host, shop)
        yield from _measures(registry)


def _missing() -> Iterator[str]:
    names = {each.name for each in installed()}
    for name in ("oracle", "metrics"):
        if name not in names:
            yield (
                f"flext-plugins-{name} is not installed: the extra `demo` of flext-plugins-devstack"
            )
    for find in (postgres.programs, oracle.interpreter):
        try:
            find()
        except NotInstalled as error:
            yield str(error)


def _variables(server: OracleCompatibleServer) -> dict[str, str]:
    plugins = "FLEXT__SERVICES__SHOP__PLUGINS__"
    secrets = {USER: "username", PASSWORD: "password"}
    settings = server.settings()
    given = {variable: f"{settings[name]}" for variable, name in secrets.items()}
    settings |= {name: f"env:{variable}" for variable, name in secrets.items()}
    return {
        f"{plugins}CIRCUIT_BREAKER__FAILURE_THRESHOLD": f"{THRESHOLD}",
        f"{plugins}CIRCUIT_BREAKER__RECOVERY_TIMEOUT": "1",
        f"{plugins}METRICS": "{}",
        **{f"{plugins}ORACLE__{name.upper()}": f"{value}" for name, value in settings.items()},
        **given,
    }


def _lines(first: int, last: int) -> Iterable[str]:
    for number in range(first, last + 1):
        record, _ = BAD.get(number, ({"id": number, "item": "bolt"}, ""))
        yield json.dumps(record)


def _load(shop: "OracleDatabase") -> Iterator[str]:
    shop.execute(TABLE)
    yield TABLE
    report = shop.load("orders", map(json.loads, _lines(1, RECORDS)), batch_size=50)
    yield f"{report.loaded} of {report.resume} loaded, {report.refused} refused"
    for row in report.bad_rows:
        yield f"record {row.number}: {row.reason}"
    bad = {row.number: row.code for row in report.bad_rows}
    expect("bad rows", {number: code for number, (_, code) in BAD.items()}, bad)
    expect("rows in the table", RECORDS - len(BAD), _rows(shop))


def _rows(shop: "OracleDatabase") -> int:
    ((count,),) = shop.fetch("select count(*) from orders")
    return int(count)


def _refusals(
    server: OracleCompatibleServer, host: Host, shop: "OracleDatabase"
) -> Generator[str, None, float]:
    """Kill the server; returns the seconds for which its circuit stays open."""
    yield f"the server, process {server.pid}, is killed"
    server.down()
    answers, wait = [""], None
    while answers[-1] != "CircuitOpen" and len(answers) <= MOST:
        name, error = _outcome(shop)
        answers.append(name)
        wait = error.retry_after if isinstance(error, Refused) else None
    yield f"load: {', '.join(answers[1:])}"
    expect("the first loads", ["DatabaseUnavailable"] * THRESHOLD, answers[1 : THRESHOLD + 1])
    expect("the last one", "CircuitOpen", answers[-1])
    yield from _circuit(server, host, "open")
    return (wait or 0.0) + 0.01


def _recovery(server: OracleCompatibleServer, host: Host, shop: "OracleDatabase") -> Iterator[str]:
    name, _ = _outcome(shop)
    yield f"load: {name}; rows in the table: {_rows(shop)}"
    expect("a load", "1 loaded", name)
    expect("rows in the table", RECORDS - len(BAD) + 1, _rows(shop))
    yield from _circuit(server, host, "closed")


def _circuit(server: OracleCompatibleServer, host: Host, state: str) -> Iterator[str]:
    from flext_plugins_circuit_breaker import CircuitBreaker  # noqa: PLC0415 - as above

    circuit = host.resource("shop", CircuitBreaker).circuit("oracle", server.target)
    yield f"circuit: {circuit.target} {circuit.state.value}"
    expect("the circuit", state, circuit.state.value)


def _outcome(shop: "OracleDatabase") -> tuple[str, Exception | None]:
    """Load one record; what came of it in a word or two, and the error if it is one."""
    from flext_plugins_oracle import DatabaseUnavailable  # noqa: PLC0415 - as above

    try:
        report = shop.load("orders", map(json.loads, _lines(RECORDS + 1, RECORDS + 1)))
    except FlextError as error:
        kind = DatabaseUnavailable if isinstance(error, DatabaseUnavailable) else type(error)
        return kind.__name__, error
    return f"{report.loaded} loaded", None


def _measures(registry: "CollectorRegistry") -> Iterator[str]:
    from prometheus_client import generate_latest  # noqa: PLC0415 - as above

    for line in generate_latest(registry).decode().splitlines():
        if line.startswith(MEASURED):
            yield line
    for state, sessions in POOL.items():
        seen = [
            each.value
            for metric in registry.collect()
            for each in metric.samples
            if each.name == "db_client_connection_count" and state in each.labels.values()
        ]
        expect(f"sessions that are {state}", [sessions], seen)
