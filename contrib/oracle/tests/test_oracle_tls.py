"""Whom a database is believed to be: authorities, wallets, names, and certificates of our own."""

import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_devstack import OracleCompatibleServer
from flext_plugins_devstack.certificates import Authority, authority
from flext_plugins_oracle import AsyncOracleDatabase, DatabaseUnavailable, OracleDatabase
from peer import HOST, Peer

from flext_plugins import ConfigError, Failure, FlextError

# The driver, which speaks TLS, is of the same version in every environment.
pytestmark = pytest.mark.once

FAR = 20.0
"""Seconds that are no time-out's but a hang's."""
UNKNOWN = (
    "CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate; check ca_file or wallet"
)


class Wiretap(Peer):
    """Passes bytes on to `port` and back, and keeps them."""

    def __init__(self, port: int) -> None:
        self._to, self.heard = port, bytearray()
        super().__init__()

    def answer(self, accepted: socket.socket) -> None:
        with socket.create_connection((HOST, self._to)) as onward:
            while not self.ended.is_set():
                for one in select.select([accepted, onward], [], [], 0.05)[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    self.heard += data
                    (onward if one is accepted else accepted).sendall(data)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no server's certificate is of."""
    return authority(tmp_path_factory.mktemp("foreign"))


@pytest.fixture
def wallet(tmp_path: Path) -> Callable[..., str]:
    """Makes a wallet of these files; a client's certificate comes first."""

    def wallet(*files: Path | str, names: str = "") -> str:
        (tmp_path / "ewallet.pem").write_bytes(b"".join(Path(each).read_bytes() for each in files))
        (tmp_path / "tnsnames.ora").write_text(names)
        return str(tmp_path)

    return wallet


@pytest.fixture
def secure(ask: Any, tls_database: OracleCompatibleServer) -> Callable[..., Any]:
    """`ask` for the server that speaks TLS alone."""
    return lambda **settings: ask(tls_database, **settings)


def refused(work: Callable[[], object], words: str) -> None:
    with pytest.raises(FlextError) as caught:
        work()
    assert words in str(caught.value)
    if not isinstance(caught.value, ConfigError):
        assert isinstance(caught.value, DatabaseUnavailable)
        assert caught.value.failure is Failure.CONNECT


def test_what_is_sent_over_tls_is_read_by_nobody_on_the_way(
    ask: Any, database: OracleCompatibleServer, tls_database: OracleCompatibleServer
) -> None:
    for server, is_read in ((database, True), (tls_database, False)):
        with Wiretap(server.port) as way:
            asked = ask(server, port=way.port)
            assert asked.rows("select 'canary' from dual") == [("canary",)]
            assert [secret in way.heard for secret in (b"canary", b"select")] == [is_read] * 2


def test_a_database_of_an_unknown_authority_is_told_nothing(
    secure: Any, foreign: Authority, wallet: Any
) -> None:
    for settings in (
        {"ca_file": str(foreign.path)},
        {"ca_file": None},  # the system's
        {"ca_file": None, "wallet": wallet(foreign.path)},
    ):
        refused(secure(**settings).health, UNKNOWN)


def test_a_wallet_names_authorities_too(secure: Any, wallet: Any, tls_database: Any) -> None:
    assert secure(ca_file=None, wallet=wallet(tls_database.ca_file)).rows("select 1 from dual")


def test_a_wallet_without_certificates_is_told(secure: Any, wallet: Any, tmp_path: Path) -> None:
    refused(secure(ca_file=None, wallet=str(tmp_path / "none")).health, "wallet: DPY-2018: ")
    (tmp_path / "text").write_text("none")
    refused(
        secure(ca_file=None, wallet=wallet(tmp_path / "text")).health, "; check ca_file or wallet"
    )


def test_a_name_in_the_wallets_tnsnames_leads_to_the_database(
    world: Any, wallet: Any, tls_database: OracleCompatibleServer
) -> None:
    address = f"(ADDRESS=(PROTOCOL=tcps)(HOST=localhost)(PORT={tls_database.port}))"
    names = f"prod = (DESCRIPTION={address}(CONNECT_DATA=(SERVICE_NAME=FLEXT)))\n"
    folder = wallet(tls_database.ca_file, names=names)
    account = {"username": "FLEXT", "password": tls_database.users["FLEXT"], "wallet": folder}
    connections = {
        "name": {"dsn": "prod", **account},
        "none": {"dsn": "test", **account},
        "whole": {"dsn": f"tcps://localhost:{tls_database.port}/FLEXT", **account},
    }
    tables = {"plugins": {"oracle": {"connections": connections}}}
    host = world.host({"services": {"service": tables}, "allow_inline_secrets": True})
    kind = AsyncOracleDatabase if world.asynchronous else OracleDatabase
    for name, target in (("name", "prod"), ("whole", f"localhost:{tls_database.port}")):
        assert world.run(world.resource(host, kind, name).health).target == target
    refused(
        lambda: world.run(world.resource(host, kind, "none").health),
        'dsn: DPY-4000: unable to find "test"',
    )


def test_a_certificate_is_for_the_host_or_for_the_name_that_is_expected(secure: Any) -> None:
    """The driver looks for names of hosts alone, and not for addresses."""
    refused(secure(host="127.0.0.1").health, "; check host or server_dn")
    assert secure(host="127.0.0.1", server_dn="CN=server").health()
    refused(secure(server_dn="CN=other").health, "; check server_dn")


@pytest.mark.once
def test_a_database_that_asks_for_a_certificate_gets_the_wallets(
    ask: Any, run_database: Any, foreign: Authority, wallet: Any
) -> None:
    server: OracleCompatibleServer = run_database(tls=True, client_certificates=True)
    own = server.authority
    assert own is not None
    assert ask(server, ca_file=None, wallet=wallet(own.client, own.path)).health()
    refused(ask(server, ca_file=None, wallet=wallet(foreign.client, own.path)).health, "wallet")
    refused(ask(server).health, "check wallet")


@pytest.mark.parametrize(("protocol", "words"), [("tcps", "timed out"), ("tcp", "cannot be")])
def test_tls_on_one_side_alone_ends_within_the_time_to_connect(
    ask: Any,
    tls_database: OracleCompatibleServer,
    protocol: str,
    words: str,
) -> None:
    """The driver itself waits for a minute."""
    if protocol == "tcps":
        asked = ask(protocol=protocol, connect_timeout=0.3)
    else:
        asked = ask(tls_database, protocol=protocol, ca_file=None, connect_timeout=0.3)
    started = time.monotonic()
    refused(asked.health, words)
    assert time.monotonic() - started < FAR
