"""Plugins that are right, each of a kind that a rule could take for wrong: none of them is blamed."""

from __future__ import annotations

import threading
import time

import pytest
from pydantic import BaseModel

from flext_plugins import Operation, Refused, Stage, hookimpl
from flext_plugins.testing import Answer, PluginConformance

pytestmark = pytest.mark.once


class Bulkhead:
    """Lets ten requests through at a time, and refuses the others."""

    stage = Stage.GUARD

    def __init__(self):
        self.places = 10
        self.lock = threading.Lock()

    @hookimpl
    async def flext_exchange(self, request, send):
        with self.lock:
            if not self.places:
                raise Refused("every place is taken")
            self.places -= 1
        try:
            return await send(request)
        finally:
            with self.lock:
                self.places += 1


class TestWhatAGuardRefusesIsItsWork(PluginConformance):
    plugin = Bulkhead


class Cache:
    """Keeps answers to GET for as long as they say, a hundred at most."""

    stage = Stage.CALL

    def __init__(self):
        self.kept = {}

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        key = request.method, str(request.url)
        if key in self.kept:
            until, kept = self.kept[key]
            if time.monotonic() < until:
                return connection.respond(*kept)
        response = await send(request)
        says = response.headers.get("Cache-Control", "")
        if request.method == "GET" and says.startswith("max-age=") and len(self.kept) < 100:
            body = await connection.read(response)
            until = time.monotonic() + int(says.removeprefix("max-age="))
            headers = {"Age": "0", "X-Of": response.headers.get("X-Of", "")}
            self.kept[key] = until, (response.status_code, headers, body)
        return response


class TestACacheIsReachedByAnswersThatMayBeKept(PluginConformance):
    plugin = Cache
    answers = (Answer(headers={"Cache-Control": "max-age=60"}, body=b"kept"),)

    async def exercise(self, trial):
        await trial.get("/kept")
        before = len(trial.service.received)
        answer = await trial.get("/kept")
        assert (answer.content, answer.headers["Age"]) == (b"kept", "0")
        assert len(trial.service.received) == before


def sealed(body):
    return bytes(each ^ 0x55 for each in body)


class Sealing:
    """Opens answers that the service has sealed."""

    stage = Stage.SIGN

    @hookimpl
    async def flext_response(self, response, connection):
        if response.headers.get("X-Sealed") is None:
            return None
        opened = sealed(await connection.read(response))
        if not opened.startswith(b"{"):
            raise ValueError("this is not sealed as it should be")
        kept = {"X-Named": response.headers.get("X-Named", "")}
        return connection.respond(response.status_code, kept, opened)


class TestAnswersAreWhatTheAuthorsServiceSays(PluginConformance):
    plugin = Sealing

    def answers(self, received):
        return Answer(headers={"X-Sealed": "yes"}, body=sealed(f"{{{received.path}}}".encode()))

    async def exercise(self, trial):
        assert (await trial.get("/orders")).content == b"{/orders}"
        assert (await trial.send("POST", "/orders", content=b"7")).content == b"{/orders}"


class Named(BaseModel):
    credentials: frozenset[str] = frozenset({"auth"})
    """The names of plugins that identify the caller."""
    token_name: str = "default"


class Naming:
    """Says by which plugins a caller is known."""

    Settings = Named

    def __init__(self, settings):
        self.names = ", ".join(sorted(settings.credentials))

    @hookimpl
    def flext_request(self, request):
        request.headers["X-Known-By"] = self.names


class TestNamesOfPluginsAreNoCredentials(PluginConformance):
    plugin = Naming
    not_secret = {"token_name"}


class Table:
    def __init__(self, connection):
        self.connection = connection

    def rows(self):
        asked = self.connection.perform(Operation("table", "read", "rows"), self.read)
        return asked if self.connection.asynchronous else self.connection.drive(asked)

    def read(self):
        time.sleep(0.06)
        return [1, 2, 3]


class Lending:
    """Lends what takes its time, in a thread."""

    def __init__(self, settings):
        self.folder = settings.folder

    class Settings(BaseModel):
        folder: str

    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Table, Table(connection))


class TestBlockingWorkMayRunInAThreadAndSettingsComeFromAFixture(PluginConformance):
    plugin = Lending

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.settings = {"folder": str(tmp_path)}

    async def exercise(self, trial):
        table = await trial.resource(Table)
        assert await trial.call(table.rows) == [1, 2, 3]


class Scanner:
    """Looks at whole answers, whatever they are."""

    @hookimpl
    async def flext_response(self, response, connection):
        if b"virus" in await connection.read(response):
            raise ValueError("a virus")


class TestARuleIsTakenOutByNone(PluginConformance):
    plugin = Scanner
    test_an_answer_streams_through_it = None  # it has to see all of it first
