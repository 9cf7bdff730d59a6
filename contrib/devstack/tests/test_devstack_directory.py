"""The directory of the devstack: a real slapd, taken down and brought up again."""

import os
import socket
from pathlib import Path

import pytest
from flext_plugins_devstack import DirectoryServer, NotInstalled, directory
from flext_plugins_devstack.directory import MEMBERS, PEOPLE, USERS
from flext_plugins_ldap import Directory, DirectoryUnavailable

from flext_plugins import Host

pytestmark = pytest.mark.once


def host(server: DirectoryServer, **settings: object) -> Host:
    return Host({"services": {"company": {"plugins": {"ldap": server.settings(**settings)}}}})


def make(folder: Path | None = None, options: str = "") -> DirectoryServer:
    try:
        return DirectoryServer(folder and folder / "slapd", options=options)
    except NotInstalled as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_its_people_prove_who_they_are_over_tls(scheme: str, tmp_path: Path) -> None:
    with make(tmp_path) as server:
        url = server.url if scheme == "ldap" else server.tls_url
        with host(server, url=url) as opened:
            company = opened.resource("company", Directory)
            for uid, (name, password) in USERS.items():
                user = company.authenticate(uid, password)
                assert (user.dn, user.attributes["cn"]) == (f"uid={uid},{PEOPLE}", (name,))
                groups = [group for group, uids in MEMBERS.items() if uid in uids]
                assert sorted(company.groups(uid)) == sorted(groups)


def test_down_it_refuses_connections_and_comes_up_on_its_ports_with_what_it_held(
    tmp_path: Path,
) -> None:
    with make(tmp_path) as server, host(server) as opened:
        company = opened.resource("company", Directory)
        company.modify(f"uid=ana,{PEOPLE}", {"departmentNumber": "43"})
        pid = server.pid
        server.down()
        server.down()
        assert pid is not None
        assert not is_alive(pid)
        assert server.pid is None
        for port in (server.port, server.tls_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
        with pytest.raises(DirectoryUnavailable):
            company.health()
        server.up()
        assert company.user("ana").attributes["departmentNumber"] == ("43",)
        pid = server.pid
        server.up()
        assert server.pid == pid


def test_while_it_is_down_nobody_else_is_handed_its_ports(tmp_path: Path) -> None:
    server = make(tmp_path)
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind(("127.0.0.1", server.port))
    server.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", server.port))


def test_nothing_remains_of_it() -> None:
    with make() as server:
        pid, folder = server.pid, server.folder
        assert folder.stat().st_mode & 0o077 == 0
    server.close()
    assert pid is not None
    assert not is_alive(pid)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "entries", "told"),
    [
        ("nonsense", None, "slapd does not take what it is to hold: .*<nonsense>"),
        (
            "",
            ["dn: dc=flext,dc=test\nobjectClass: nonsense\n\n"],
            "unrecognized objectClass 'nonsense'",
        ),
    ],
)
def test_what_slapd_does_not_take_is_told_in_its_words(
    options: str, entries: list[str] | None, told: str, tmp_path: Path
) -> None:
    server = make(tmp_path, options)
    server.entries = server.entries if entries is None else entries
    with pytest.raises(RuntimeError, match=f"(?s){told}"):
        server.__enter__()
    with socket.socket() as other:  # it has given its ports back
        other.bind(("127.0.0.1", server.port))


def test_without_slapd_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(directory, "ELSEWHERE", ())
    with pytest.raises(NotInstalled, match="^slapd is not installed: apt-get install slapd "):
        DirectoryServer(tmp_path / "slapd")
    assert not (tmp_path / "slapd").exists()
