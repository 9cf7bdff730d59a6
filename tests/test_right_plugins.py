"""Plugins that are right, of kinds that a rule could take for wrong: none of them is blamed."""

from __future__ import annotations

import threading
import time

import pytest
from pydantic import BaseModel

from flext_plugins import Operation, Refused, Stage, hookimpl
from flext_plugins.testing import PluginConformance

pytestmark = pytest.mark.once


class Bulkhead:
    """Lets ten requests through at a time, and refuses the others."""

    stage = Stage.GUARD

    def __init__(self):
        self.places = 10
        self.lock = threading.Lock()

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        if not connection.waits:
            return await send(request)
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


class TestARuleIsLeftOut(PluginConformance):
    plugin = Scanner
    exempt_from = {"test_an_answer_streams_through_it"}  # it has to see all of it first
