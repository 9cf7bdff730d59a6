"""A real slapd with TLS, people, groups and a password policy."""

import math
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flext_plugins_devstack.certificates import authority
from flext_plugins_ldap import AsyncDirectory, Directory

from flext_plugins import Host
from flext_plugins.testing import World

sys.path.insert(0, str(Path(__file__).parents[3] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))
from scripted import Answer, ScriptedDirectory
from slapd import Slapd  # type: ignore[import-not-found]


def established(accepted: socket.socket) -> bool:
    """Whether neither side has closed it, whether this one knows already or not.

    Asked one socket after the other, those that say yes were all open when the first was asked;
    /proc/net/tcp is read in pieces, and shows connections together that never were at once.
    """
    try:
        return accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1
    except OSError:  # closed on this side
        return False


class Peer:
    """Listens on loopback, keeps what it is sent, and does with each connection what it is told.

    Args:
        answer: given the socket; the connection is closed when it returns.

    Attributes:
        count: how many connections there have been.
        most: how many there were at once.
    """

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.url = f"ldap://127.0.0.1:{self.port}"
        self.target = f"127.0.0.1:{self.port}"
        self.received = b""
        self.most = self.count = 0
        self._accepted: list[socket.socket] = []
        self.ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._server.accept()
            except OSError:
                return
            self.count += 1
            self._accepted.append(accepted)
            self.most = max(self.most, sum(map(established, self._accepted)))
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            self._answer(accepted)
        except OSError:
            pass
        finally:
            accepted.close()

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
def scripted(peer: Callable[..., Peer]) -> Callable[[Answer], ScriptedDirectory]:
    """Makes a directory that answers searches as it is told."""

    def run(answer: Answer) -> ScriptedDirectory:
        made = ScriptedDirectory(answer)
        made.url = peer(lambda _, accepted: made.serve(accepted)).url
        return made

    return run


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
    made.close()


@pytest.fixture(scope="session")
def writable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """For tests that put it back as it was."""
    made = Slapd(tmp_path_factory.mktemp("slapd") / "writable")
    yield made
    made.close()


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """One that cannot do TLS."""
    made = Slapd(tmp_path_factory.mktemp("slapd") / "plain", tls=False)
    yield made
    made.close()


@pytest.fixture(scope="session")
def authority_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority that no server's certificate is of."""
    return authority(tmp_path_factory.mktemp("authority")).path


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
        each.close()


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
    service's configuration, `plugins` are other plugins' tables, `register` plugins without settings,
    and `name` that of the directory.
    """

    def ask(
        server: Slapd = slapd,
        service: dict[str, Any] | None = None,
        plugins: dict[str, Any] | None = None,
        provide: dict[type, Any] | None = None,
        register: dict[str, type] | None = None,
        name: str | None = None,
        **settings: Any,
    ) -> Asked:
        tables = {"ldap": server.settings(**settings), **(plugins or {})}
        tables |= {each: {} for each in register or {}}
        config = {"services": {"service": {"plugins": tables, **(service or {})}}}
        host = world.host(config, **(register or {}))
        for kind, value in (provide or {}).items():
            host.provide(kind, value)
        return Asked(world, host, name)

    return ask
