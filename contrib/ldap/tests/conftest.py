"""A real slapd with TLS, people, groups and a password policy."""

import importlib.util
import math
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_ldap import AsyncDirectory, Directory

from flext_plugins import Host
from flext_plugins.testing import World

BASE = "dc=flext,dc=test"
PEOPLE = f"ou=people,{BASE}"
GROUPS = f"ou=groups,{BASE}"
CROWD = f"ou=crowd,{BASE}"
SERVICE = f"cn=service,{BASE}"
"""May read, and write what is below the base."""
PASSWORD = "s3rvice-passw0rd"
PATIENCE = 10.0
USERS = {
    "ana": ("Ana Silva", "ana-passw0rd"),
    "bob": ("Bob Jones", "bob-passw0rd"),
    "eve": ("Eve (Lock*) Out", "eve-passw0rd"),
    "old": ("Old Password", "old-passw0rd"),
    "new": ("New Password", "new-passw0rd"),
}
"""By `uid`: the name and the password. `old`'s has expired, `new` has to change it first."""
MEMBERS = {"engineers": ("ana", "bob"), "admins": ("ana",), "Sales, North": ("bob",)}

CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath {modules}
moduleload back_mdb
moduleload memberof
moduleload refint
moduleload ppolicy
pidfile {folder}/slapd.pid
{encryption}
{options}
database mdb
suffix "{base}"
directory {folder}/data
dbnosync
maxsize 268435456
rootdn "cn=root,{base}"
index objectClass,uid,member,entryCSN eq
limits dn.exact="cn=service,{base}" size.soft=500 size.hard=500 size.prtotal=unlimited
{access}
access to attrs=userPassword by dn.exact="cn=service,{base}" =wx by anonymous auth by * none
access to * by dn.exact="cn=service,{base}" write by users read by anonymous auth
overlay memberof
memberof-refint TRUE
overlay ppolicy
ppolicy_default "cn=default,ou=policies,{base}"
ppolicy_use_lockout
{overlays}
"""


def _certificates() -> Any:
    """`tests/certificates.py`, which is beside no package."""
    path = Path(__file__).parents[3] / "tests" / "certificates.py"
    spec = importlib.util.spec_from_file_location("certificates", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


certificates = _certificates()


def program(name: str) -> str:
    """Where it is; without it the test is skipped, or fails where CI is set."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        wanted = f"{name} (package slapd) is not installed; see tools/servers.sh"
        if os.environ.get("CI"):
            pytest.fail(f"{wanted} (nothing is skipped where CI is set)", pytrace=False)
        pytest.skip(wanted)
    return found


def _entry(dn: str, **attributes: str | list[str]) -> str:
    lines = [f"dn: {dn}"]
    for name, values in attributes.items():
        for value in [values] if isinstance(values, str) else values:
            lines.append(f"{name}: {value}")
    return "\n".join(lines) + "\n\n"


def _seed(crowd: int, numbers: bool) -> Iterator[str]:
    policy = ["device", "pwdPolicy"]
    policies = f"ou=policies,{BASE}"
    yield _entry(BASE, objectClass=["dcObject", "organization"], o="Flext", dc="flext")
    for unit in ("people", "groups", "crowd", "policies"):
        yield _entry(f"ou={unit},{BASE}", objectClass="organizationalUnit", ou=unit)
    yield _entry(
        SERVICE,
        objectClass=["organizationalRole", "simpleSecurityObject"],
        cn="service",
        userPassword=PASSWORD,
        pwdPolicySubentry=f"cn=service,{policies}",
    )
    common: dict[str, Any] = {"objectClass": policy, "pwdAttribute": "userPassword"}
    yield _entry(f"cn=service,{policies}", cn="service", **common)
    locking = {"pwdLockout": "TRUE", "pwdMaxFailure": "3"}
    yield _entry(f"cn=default,{policies}", cn="default", pwdMustChange="TRUE", **common, **locking)
    yield _entry(f"cn=expiring,{policies}", cn="expiring", pwdMaxAge="60", **common)
    more: dict[str, dict[str, str]] = {
        "old": {
            "pwdPolicySubentry": f"cn=expiring,{policies}",
            "pwdChangedTime": "20200101000000Z",
        },
        "new": {"pwdReset": "TRUE"},
    }
    for uid, (name, password) in USERS.items():
        yield _entry(
            f"uid={uid},{PEOPLE}",
            objectClass="inetOrgPerson",
            uid=uid,
            cn=name,
            sn=name.split()[-1],
            mail=f"{uid}@flext.test",
            departmentNumber="42",
            userPassword=password,
            memberOf=[
                f"cn={escaped(cn)},{GROUPS}" for cn, members in MEMBERS.items() if uid in members
            ],
            **more.get(uid, {}),
            **({"telephoneNumber": "+351 1 234"} if numbers else {}),
        )
    for cn, members in MEMBERS.items():
        yield _entry(
            f"cn={escaped(cn)},{GROUPS}",
            objectClass="groupOfNames",
            cn=cn,
            member=[f"uid={uid},{PEOPLE}" for uid in members],
        )
    for number in range(crowd):
        uid = f"crowd-{number:04}"
        yield _entry(f"uid={uid},{CROWD}", objectClass="inetOrgPerson", uid=uid, cn=uid, sn="Crowd")


def escaped(name: str) -> str:
    return name.replace(",", "\\,")


class Slapd:
    """One that may be stopped and started again on the same ports, with the same content.

    Args:
        folder: for its files.
        crowd: how many people there are in `ou=crowd`.
        options: more lines of configuration before the database.
        overlays: more lines of the database's configuration.
        access: who may what, asked before the rest.
        numbers: whether people have telephone numbers.
        authority: that of another one, in place of its own.
        referral: where all of `ou=away` is; `self` is right here.
        tls: whether it can.
    """

    base, people, groups, crowd_base, users = BASE, PEOPLE, GROUPS, CROWD, USERS
    bind_dn, bind_password = SERVICE, PASSWORD

    def __init__(
        self,
        folder: Path,
        crowd: int = 0,
        options: str = "",
        overlays: str = "",
        access: str = "",
        numbers: bool = False,
        authority: Any = None,
        referral: str = "",
        tls: bool = True,
    ) -> None:
        self.folder, self._tls = folder, tls
        (folder / "data").mkdir(parents=True)
        self.authority = signed = authority or certificates.authority(folder / "tls")
        self.ca_file = str(signed.path)
        self.port, self.tls_port = _free(), _free()
        self.url, self.tls_url = (
            f"ldap://127.0.0.1:{self.port}",
            f"ldaps://127.0.0.1:{self.tls_port}",
        )
        self.target = f"127.0.0.1:{self.port}"
        encryption = f"TLSCertificateFile {signed.server}\nTLSCertificateKeyFile {signed.server}"
        (folder / "slapd.conf").write_text(
            CONFIGURATION.format(
                folder=folder,
                base=BASE,
                modules="/usr/lib/ldap",
                encryption=encryption if tls else "",
                options=options,
                overlays=overlays,
                access=access,
            )
        )
        seed = [*_seed(crowd, numbers)]
        if referral:
            ref = f"{self.url}/ou=away,{BASE}" if referral == "self" else referral
            away = ["referral", "extensibleObject"]
            seed.append(_entry(f"ou=away,{BASE}", objectClass=away, ou="away", ref=ref))
        (folder / "seed.ldif").write_text("".join(seed))
        self._run("slapadd", "-q", "-f", "slapd.conf", "-l", "seed.ldif")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [program(name), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Until it accepts connections."""
        addresses = f"{self.url}/ {self.tls_url}/" if self._tls else f"{self.url}/"
        last = self.tls_port if self._tls else self.port
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("slapd"), "-f", "slapd.conf", "-h", addresses, "-d", "0"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", last), 1).close()
                return
            except OSError:
                said = (self.folder / "log").read_text()
                assert self._process.poll() is None, f"slapd ended at once: {said}"
                assert time.monotonic() < end, f"slapd does not listen: {said}"
                time.sleep(0.01)

    def stop(self) -> None:
        """At once, whatever it was doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def settings(self, **more: Any) -> dict[str, Any]:
        """A table for the plugin that works here."""
        return {
            "url": self.url,
            "ca_file": self.ca_file,
            "bind_dn": SERVICE,
            "bind_password": PASSWORD,
            "search_base": BASE,
            **more,
        }


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class Peer:
    """Listens on loopback, keeps what it is sent, and does with each connection what it is told.

    Args:
        answer: given the socket; the connection is closed when it returns.
    """

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.url = f"ldap://127.0.0.1:{self.port}"
        self.target = f"127.0.0.1:{self.port}"
        self.received = b""
        self.most = self.count = 0
        self.ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        self.count += 1
        self.most = max(self.most, self._established())
        try:
            self._answer(accepted)
        except OSError:
            pass
        finally:
            accepted.close()

    def _established(self) -> int:
        """How many connections the other side has not closed, whether we know or not."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[1].endswith(f":{self.port:04X}") and row[3] == "01" for row in rows)

    def close(self) -> None:
        self.ended.set()
        self._server.close()


class Relay(Peer):
    """Passes everything on to `port`, and back; on hold it passes nothing more.

    Attributes:
        refuses: how many of the next connections it closes at once.
        cut_after: how many bytes have passed when it closes the connection, once.
    """

    refuses = 0
    cut_after: float = math.inf

    def __init__(self, port: int) -> None:
        self._to = port
        self.passed = b""
        self.on_hold = threading.Event()
        super().__init__(self._passed)

    def _passed(self, accepted: socket.socket) -> None:
        if self.refuses:
            self.refuses -= 1
            return
        with socket.create_connection(("127.0.0.1", self._to)) as onward:
            while True:
                ready, _, _ = select.select([accepted, onward], [], [], 0.1)
                while self.on_hold.is_set() and not self.ended.is_set():
                    time.sleep(0.01)
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    self.passed += data
                    if len(self.passed) > self.cut_after:
                        self.cut_after = math.inf
                        return
                    (onward if one is accepted else accepted).sendall(data)
                if self.ended.is_set():
                    return


Run = Callable[..., Slapd]


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """Makes a `Peer`; without anything to do it keeps what it hears and says nothing."""
    made: list[Peer] = []

    def run(answer: Callable[[Peer, socket.socket], None] | None = None) -> Peer:
        def silent(accepted: socket.socket) -> None:
            while data := accepted.recv(65536):
                found.received += data

        found = Peer(silent if answer is None else lambda accepted: answer(found, accepted))
        made.append(found)
        return found

    yield run
    for each in made:
        each.close()


@pytest.fixture
def relay() -> Iterator[Callable[[int], Relay]]:
    """Makes a `Relay` to a port."""
    made: list[Relay] = []

    def run(port: int) -> Relay:
        made.append(Relay(port))
        return made[-1]

    yield run
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """For tests that leave it as it was; it has a crowd of 5,000."""
    made = Slapd(tmp_path_factory.mktemp("slapd"), crowd=5000)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def writable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """For tests that put it back as it was."""
    made = Slapd(tmp_path_factory.mktemp("slapd") / "writable")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """One that cannot do TLS."""
    made = Slapd(tmp_path_factory.mktemp("slapd") / "plain", tls=False)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def authority_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority that no server's certificate is of."""
    found: Path = certificates.authority(tmp_path_factory.mktemp("authority")).path
    return found


@pytest.fixture
def run_slapd(tmp_path: Path) -> Iterator[Run]:
    """Makes others, for tests that stop, change or set them up: see `Slapd`."""
    made: list[Slapd] = []

    def run(**options: Any) -> Slapd:
        found = Slapd(tmp_path / f"slapd-{len(made)}", **options)
        made.append(found)
        return found

    yield run
    for each in made:
        each.stop()


class Asked:
    """A directory in one of two worlds; its methods are the directory's, sync or not."""

    def __init__(self, world: World, host: Host, name: str | None = None) -> None:
        self.world, self.host, self._name = world, host, name

    @property
    def directory(self) -> Any:
        kind = AsyncDirectory if self.world.asynchronous else Directory
        return self.world.resource(self.host, kind, self._name)

    def work(self, method: str, *args: Any, **options: Any) -> Callable[[], Any]:
        """What `method` does, as a function for `world.all`."""
        directory = self.directory
        if method != "search":
            return lambda: getattr(directory, method)(*args, **options)
        if not self.world.asynchronous:
            return lambda: list(directory.search(*args, **options))

        async def found() -> list[Any]:
            return [each async for each in directory.search(*args, **options)]

        return found

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *args, **options: self.world.run(self.work(method, *args, **options))


@pytest.fixture(params=["httpx sync", "httpx async"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Threads, and an event loop."""
    with World(request.param) as made:
        yield made


Ask = Callable[..., Asked]


@pytest.fixture
def ask(world: World, slapd: Slapd) -> Ask:
    """A host's directory at `slapd`, or at another server.

    Settings are those that work there, and what is given besides; `service` is more of the
    service's configuration, `plugins` are other plugins' tables.
    """

    def ask(
        server: Slapd = slapd,
        service: dict[str, Any] | None = None,
        plugins: dict[str, Any] | None = None,
        provide: dict[type, Any] | None = None,
        **settings: Any,
    ) -> Asked:
        tables = {"ldap": server.settings(**settings), **(plugins or {})}
        host = world.host({"services": {"service": {"plugins": tables, **(service or {})}}})
        for kind, value in (provide or {}).items():
            host.provide(kind, value)
        return Asked(world, host)

    return ask
