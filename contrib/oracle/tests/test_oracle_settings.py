"""What the settings take, what is said about those that cannot be used, and what they send."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from flext_plugins_devstack import OracleCompatibleServer
from flext_plugins_oracle import OracleDatabase, OracleSettings

from flext_plugins import ConfigError, Host
from flext_plugins.testing import LoopbackService, World

GOOD = {"host": "db.example", "service_name": "PROD", "username": "shop", "password": "env:DB_PASS"}
PLACE = "services.shop.plugins.oracle"
URL = (
    "expected oracle://USER:env:NAME@HOST:PORT/SERVICE_NAME, "
    "or with file:/PATH for the password, which is never written out"
)
WORD = "expected a name without blanks, brackets, / @ = ? and #"


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASS", "canary-passw0rd")


def host_of(**table: Any) -> Host:
    return Host({"services": {"shop": {"plugins": {"oracle": table}}}})


def said(**table: Any) -> str:
    """What is told about settings that cannot be used."""
    with pytest.raises(ConfigError) as caught:
        host_of(**table).check()
    assert len(caught.value.problems) == 1, caught.value.problems
    assert "canary" not in str(caught.value)
    return caught.value.problems[0]


def without(*names: str, **more: Any) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key not in names} | more


# where the database is


@pytest.mark.parametrize(
    ("url", "target", "service_name", "username"),
    [
        ("oracle://shop:env:DB_PASS@db.example/PROD", "db.example:1521", "PROD", "shop"),
        ("oracle://shop:env:DB_PASS@db.example:1600/PROD", "db.example:1600", "PROD", "shop"),
        ("oracle://a%40b%2fc:env:DB_PASS@db/prod.example", "db:1521", "prod.example", "a@b/c"),
        ("oracle://env:DB_PASS:env:DB_PASS@db/PROD", "db:1521", "PROD", "canary-passw0rd"),
        ("oracle://shop:env:DB_PASS@[fd00::1]:1600/PROD", "[fd00::1]:1600", "PROD", "shop"),
    ],
)
def test_a_url_says_all_of_it(url: str, target: str, service_name: str, username: str) -> None:
    host_of(url=url).check()
    settings = OracleSettings.model_validate({"url": url})
    assert (settings.target, settings.service_name) == (target, service_name)
    found = settings.username
    assert (found if isinstance(found, str) or found is None else found.get_secret_value()) == (
        username
    )
    assert settings.password is not None
    assert settings.password.written() == "env:DB_PASS"


@pytest.mark.parametrize("user", ["", "shop@"])
def test_what_a_url_leaves_out_stands_beside_it(user: str) -> None:
    rest = {"password": "env:DB_PASS"} if user else {"username": "shop", "password": "env:DB_PASS"}
    host_of(url=f"oracle://{user}db.example/PROD", **rest).check()


@pytest.mark.parametrize(
    "url",
    [
        "oracle://shop:canary@db.example/PROD",
        "oracle://shop:canary:x@y@db.example/PROD",
        "oracle://shop:env:DB_PASS@db.example",
        "oracle://shop:env:DB_PASS@db.example/",
        "oracle://shop:env:DB_PASS@/PROD",
        "oracle://shop:env:DB_PASS@db.example:0/PROD",
        "oracle://shop:env:DB_PASS@db.example:99999/PROD",
        "oracle://shop:env:DB_PASS@fd00::1/PROD",
        "oracle://shop:env:DB_PASS@db.example/PROD?canary=1",
        "oracle://shop:env:DB_PASS@db.example/PROD)(SID=canary",
        "oracle+oracledb://shop:env:DB_PASS@db.example/?service_name=PROD",
        "jdbc:oracle:thin:shop/canary@db.example:1521/PROD",
        "env:DB_PASS",
        "",
    ],
)
def test_a_url_that_is_none_is_told_what_was_expected(url: str) -> None:
    assert said(url=url) == f"{PLACE}.url: {URL}"
    assert said(connections={"staging": {"url": url}}) == f"{PLACE}.connections.staging.url: {URL}"


@pytest.mark.parametrize(
    ("dsn", "target"),
    [
        ("db.example/PROD", "db.example:1521"),
        ("db.example:1600/PROD:pooled", "db.example:1600"),
        ("tcps://db.example:2484/PROD?retry_count=2", "db.example:2484"),
        ("//[fd00::1]:1600/PROD", "[fd00::1]:1600"),
        (
            (
                "(DESCRIPTION=(ADDRESS = (PROTOCOL=tcps)(PORT= 2484)(HOST = db.example))"
                "(CONNECT_DATA=(SERVICE_NAME=PROD)))"
            ),
            "db.example:2484",
        ),
        ("prod_high", "prod_high"),
    ],
)
def test_a_dsn_is_what_the_tools_of_oracle_take(dsn: str, target: str) -> None:
    settings = {"dsn": dsn, "username": "shop", "password": "env:DB_PASS"}
    host_of(**settings).check()
    assert OracleSettings.model_validate(settings).target == target


@pytest.mark.parametrize("dsn", ["shop/canary@db.example/PROD", "", " "])
def test_a_dsn_has_no_user_or_password_in_it(dsn: str) -> None:
    assert said(dsn=dsn, username="shop", password="env:DB_PASS") == (
        f"{PLACE}.dsn: expected HOST:PORT/SERVICE_NAME, (DESCRIPTION=...) or a name in "
        "tnsnames.ora; user and password are settings of their own"
    )


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "needs url, dsn or host, or connections with one"),
        ({"connections": {}}, "needs url, dsn or host, or connections with one"),
        ({"connections": {"staging": {}}}, "connections.staging needs url, dsn or host"),
        ({"username": "shop"}, "needs url, dsn or host"),
        (without("service_name"), "host needs service_name or sid"),
        (without(sid="PROD"), "either service_name or sid"),
        (without("password"), "needs username and password"),
        (without("username"), "needs username and password"),
        (
            without("service_name", dsn="prod_high"),
            "dsn says where the database is: leave out host and what goes with it",
        ),
        (
            {"url": "oracle://shop:env:DB_PASS@db.example/PROD", "port": 1521},
            None,
        ),
        (
            {"url": "oracle://shop:env:DB_PASS@db.example:1521/PROD", "port": 1521},
            "url says port already",
        ),
        (
            {"url": "oracle://shop:env:DB_PASS@db.example/PROD", "password": "env:DB_PASS"},
            "url says password already",
        ),
        ({"url": "oracle://shop:env:DB_PASS@db/PROD", "sid": "X"}, "either service_name or sid"),
        (without(pool_min=5), "pool_min is more than pool_max"),
        (without(pool_size=5, pool_max=5), "pool_size says pool_max already"),
        (without(wallet_password="env:DB_PASS"), "wallet_password needs wallet"),
        (without(wallet="/wallet"), 'ca_file, wallet and server_dn need protocol = "tcps"'),
        (without(ca_file="/ca.pem"), 'ca_file, wallet and server_dn need protocol = "tcps"'),
        (without(server_dn="CN=x"), 'ca_file, wallet and server_dn need protocol = "tcps"'),
        (
            without(database_header="X-A", schema_header="X-A"),
            "each header needs a name of its own",
        ),
    ],
)
def test_what_does_not_go_together_is_told(table: dict[str, Any], problem: str | None) -> None:
    if problem is None:
        host_of(**table).check()
    else:
        assert said(**table) == f"{PLACE}: {problem}"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("host", "", WORD),
        ("host", "db.example/PROD", WORD),
        ("service_name", "PROD)(HOST=canary", WORD),
        ("service_name", "shop/canary@db", WORD),
        ("port", 0, "expected greater than or equal to 1"),
        ("port", 65536, "expected less than or equal to 65535"),
        ("protocol", "tls", "expected 'tcp' or 'tcps'"),
        ("username", "", "expected a name, or a reference to one"),
        ("username", "env:NOBODY_SET_IT", "env:NOBODY_SET_IT: this variable is not set"),
        ("password", "file:/no/such", "file:/no/such: cannot be read (FileNotFoundError)"),
        ("schema", "sa les", "it is no name: expected a letter and then letters"),
        ("schema", "{canary", "it is no name: expected a letter and then letters"),
        ("schema", "select", "it is no name: as a name it stands in double quotes"),
        ("loads_table", "x; drop table y", "it is no name: expected a letter and then letters"),
        ("pool_max", 0, "expected greater than 0"),
        ("pool_min", -1, "expected greater than or equal to 0"),
        ("pool_size", "canary", "expected a valid integer, unable to parse string as an integer"),
        ("connect_timeout", 0, "expected greater than 0"),
        ("timeout", float("inf"), "expected a finite number"),
        ("database_header", "X Database", "expected the name of a header, without _ in it"),
        ("schema_header", "X_Schema", "expected the name of a header, without _ in it"),
        ("service_nam", "PROD", "unknown key; did you mean 'service_name'?"),
        ("pasword", "canary", "unknown key; did you mean 'password'?"),
        ("pool_sise", 3, "unknown key; did you mean 'pool_size'?"),
        ("requierd", True, "unknown key; did you mean 'required'?"),
        ("db_2", "canary", "unknown key"),
    ],
)
def test_a_value_that_is_none_is_told_what_was_expected(
    key: str, value: object, problem: str
) -> None:
    assert said(**{**GOOD, key: value}).startswith(f"{PLACE}.{key}: {problem}")
    if "header" not in key:
        one = {"prod": {**GOOD, key: value}}
        assert said(connections=one).startswith(f"{PLACE}.connections.prod.{key}: {problem}")


def test_a_named_database_has_an_account_of_its_own() -> None:
    """An account that is inherited would be sent wherever an address leads."""
    staging = {"host": "staging.example", "service_name": "STAGING"}
    assert said(**GOOD, connections={"staging": staging}) == (
        f"{PLACE}.connections.staging: needs username and password of its own"
    )


def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("no certificate")
    for file, kind in ((empty, "SSLError"), (tmp_path / "none.pem", "FileNotFoundError")):
        told = f"cannot read {str(file)!r} ({kind})"
        assert f"ca_file: expected a file of certificates in PEM, {told}" in said(
            **GOOD, protocol="tcps", ca_file=str(file)
        )


# files


GUIDE = """
services:
  shop:
    plugins:
      oracle:
        connections:
          oracle-prod:
            host: oracle.prod.company.com
            port: 1521
            service_name: PRODDB
            pool_size: 20
            username: env:PROD_USER
            password: env:DB_PASS
          oracle-staging:
            host: oracle.staging.company.com
            port: 1521
            service_name: STAGINGDB
            pool_size: 10
            username: staging
            password: env:DB_PASS
"""


def test_the_flext_guides_pools_are_connections_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROD_USER", "prod")
    (tmp_path / "flext.yaml").write_text(GUIDE)
    Host.from_file(tmp_path / "flext.yaml").check()
    table = yaml.safe_load(GUIDE)["services"]["shop"]["plugins"]["oracle"]
    databases = OracleSettings.model_validate(table).databases
    assert {name: (each.target, each.pool_max) for name, each in databases.items()} == {
        "oracle-prod": ("oracle.prod.company.com:1521", 20),
        "oracle-staging": ("oracle.staging.company.com:1521", 10),
    }


@pytest.mark.parametrize("suffix", ["toml", "yaml"])
def test_a_problem_in_a_file_is_told_with_file_and_place(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"flext.{suffix}"
    table = without("password", password="canary-inline")
    if suffix == "toml":
        lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        file.write_text("\n".join([f"[{PLACE}.connections.prod]", *lines]))
    else:
        tables = {"services": {"shop": {"plugins": {"oracle": {"connections": {"prod": table}}}}}}
        file.write_text(json.dumps(tables))
    with pytest.raises(ConfigError) as caught:
        Host.from_file(file).check()
    (problem,) = caught.value.problems
    assert problem == (
        f"{file}: {PLACE}.connections.prod.password: a secret stands in the file; "
        "write env:NAME or file:/path (or say allow_inline_secrets = true)"
    )


@pytest.mark.once
@pytest.mark.parametrize(
    ("command", "password"),
    [(["check"], "env:DB_PASS"), (["explain", "shop"], "env:DB_PASS"), (["check"], "canary")],
)
def test_the_command_line_shows_nothing_secret(
    tmp_path: Path, command: list[str], password: str
) -> None:
    url = f"oracle://shop:{password}@db.example/PROD"
    (tmp_path / "flext.toml").write_text(f"[{PLACE}]\nurl = {url!r}\n")
    program = [sys.executable, "-m", "flext_plugins.cli", *command]
    done = subprocess.run(
        [*program, "--config", str(tmp_path / "flext.toml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == (password == "canary"), done.stderr
    assert "shop" in done.stdout + done.stderr or "ok: 1 service" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_a_password_in_a_file_is_read_again_when_it_changes(
    tmp_path: Path, database: OracleCompatibleServer
) -> None:
    secret, file = tmp_path / "secret", tmp_path / "flext.toml"
    table = database.settings(password=f"file:{secret}")
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    file.write_text("\n".join([f"[{PLACE}]", *lines]))
    secret.write_text("wrong\n")
    with Host.from_file(file) as host:
        lent = host.resource("shop", OracleDatabase)
        with pytest.raises(ConfigError, match="does not accept username with password: ORA-01017"):
            lent.health()
        secret.write_text(f"{database.users['FLEXT']}\n")
        assert lent.health().target == database.target
        assert database.users["FLEXT"] not in str(host.explain("shop"))


# the headers of an HTTP service


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"x-database": "oracle"}),
        ({"schema": "sales"}, {"x-database": "oracle", "x-schema": "sales"}),
        (
            {"schema": "sales", "database_header": "X-Store", "schema_header": "X-Part"},
            {"x-store": "oracle", "x-part": "sales"},
        ),
        ({"schema": "sales", "database_header": "", "schema_header": ""}, {}),
    ],
)
def test_requests_to_an_http_service_name_the_database(
    flext_world: World,
    flext_service: LoopbackService,
    database: OracleCompatibleServer,
    settings: dict[str, Any],
    expected: dict[str, str],
) -> None:
    tables = {"oracle": database.settings(**settings)}
    config = {"base_url": flext_service.url, "plugins": tables}
    host = flext_world.host({"services": {"service": config}, "allow_inline_secrets": True})
    assert flext_world.get(host).status_code == 200
    sent = {name.lower(): value for name, value in flext_service.received[-1].headers.items()}
    names = {"x-database", "x-schema", "x-store", "x-part"}
    assert {name: value for name, value in sent.items() if name in names} == expected
