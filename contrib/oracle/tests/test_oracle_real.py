"""The tests' way to a real Oracle: here the Oracle-compatible server stands for it."""

from __future__ import annotations

import pytest
from driver import connect
from flext_plugins_devstack import OracleCompatibleServer
from flext_plugins_oracle import OracleDatabase
from real import DSN, PASSWORD, USER, RealOracle

from flext_plugins import Host

pytestmark = pytest.mark.once


@pytest.fixture
def named(
    database: OracleCompatibleServer, monkeypatch: pytest.MonkeyPatch
) -> OracleCompatibleServer:
    """The database that the variables name."""
    user, password = next(iter(database.users.items()))
    monkeypatch.setenv(DSN, f"127.0.0.1:{database.port}/SERVICE")
    monkeypatch.setenv(USER, user)
    monkeypatch.setenv(PASSWORD, password)
    found = RealOracle.named()
    assert found is not None
    return found


def test_a_database_that_variables_name_is_asked_by_driver_and_plugin(
    named: OracleCompatibleServer, database: OracleCompatibleServer
) -> None:
    with connect(named) as connection:
        (found,) = connection.cursor().execute("select user from dual").fetchone()
    assert found == next(iter(database.users))
    oracle = named.settings(schema=found)
    assert oracle["service_name"] == "SERVICE"
    with Host({"services": {"real": {"plugins": {"oracle": oracle}}}}) as host:
        assert host.resource("real", OracleDatabase).health().target == database.target


def test_it_is_neither_ended_nor_asked_for_its_sessions(named: OracleCompatibleServer) -> None:
    named.close()
    with connect(named):
        for ask in (named.down, lambda: named.sessions):
            with pytest.raises(pytest.skip.Exception):
                ask()


@pytest.mark.parametrize("dsn", ["db.example:1521/PROD", "127.0.0.1:1521", "127.0.0.1/PROD"])
def test_a_database_that_the_relay_cannot_lead_to_is_told(dsn: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="expected 127.0.0.1:PORT/SERVICE_NAME"):
        RealOracle(dsn, "FLEXT", "secret")


def test_without_the_variable_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DSN, raising=False)
    assert RealOracle.named() is None
