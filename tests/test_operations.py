"""Operations: how they end with the deadline, and whose their errors are."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest

from flext_plugins import (
    DeadlineExceeded,
    Failure,
    FlextError,
    Operation,
    PluginError,
    Refused,
    Stage,
    events,
    hookimpl,
    options,
)
from flext_plugins.testing import PluginConformance, World

SEARCH = Operation("ldap", "search", "dir:389", idempotent=True)


class Searcher:
    """What a plugin lends; it does what the test says."""

    def __init__(self, connection):
        self.connection = connection

    def search(self, function, *args):
        searching = self.connection.perform(SEARCH, function, *args)
        return searching if self.connection.asynchronous else self.connection.drive(searching)


class Lends:
    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Searcher, Searcher(connection))


class Judges:
    """Notes what a breaker would count."""

    stage = Stage.GUARD

    def __init__(self):
        self.failures = []
        Judges.latest = self

    @hookimpl
    async def flext_operation(self, operation, proceed, connection):
        try:
            return await proceed(operation)
        except Exception as error:
            self.failures.append((type(error).__name__, connection.failure(error)))
            raise


class Down(FlextError):
    failure = Failure.CONNECT


def search(world, host, function, *args):
    searcher = world.resource(host, Searcher)
    return world.run(lambda: searcher.search(function, *args))


def after(seconds, error=None):
    time.sleep(seconds)
    if error is not None:
        raise error
    return "done"


async def aafter(seconds, error=None):
    return after(seconds, error)


def begun(*args):
    """A plain function that gives something to await."""
    return aafter(*args)


# Work


@pytest.mark.contract("operation-work")
@pytest.mark.parametrize("function", [after, aafter, begun])
def test_a_function_is_called_and_what_it_gives_is_awaited_if_it_can_be(
    flext_service, flext_world, function
):
    assert search(flext_world, flext_world.serve(flext_service, Lends), function, 0) == "done"


# Deadlines


@pytest.mark.contract("operation-deadline")
@pytest.mark.parametrize("error", [None, OSError("timed out"), Down("timed out")])
@pytest.mark.parametrize("function", [after, aafter])
def test_an_operation_that_is_late_ends_with_the_deadline_whatever_came_of_it(
    flext_service, flext_world, function, error
):
    host = flext_world.serve(flext_service, Lends, Judges)
    with options(deadline=0.1), pytest.raises(DeadlineExceeded) as caught:
        search(flext_world, host, function, 0.2, error)

    assert str(caught.value) == (
        "service: lends: no time left, waiting for lends's search at ldap dir:389"
    )
    assert Judges.latest.failures == [("DeadlineExceeded", None)]


@pytest.mark.contract("operation-deadline")
@pytest.mark.parametrize("error", [OSError("timed out"), Down("timed out")])
def test_the_error_of_a_function_that_was_late_is_the_cause(flext_service, flext_world, error):
    host = flext_world.serve(flext_service, Lends)
    with options(deadline=0.1), pytest.raises(DeadlineExceeded) as caught:
        search(flext_world, host, aafter, 0.2, error)
    assert caught.value.__cause__ is error


@pytest.mark.contract("operation-deadline")
def test_blocking_work_of_a_hook_ends_with_the_deadline_too(flext_service, flext_world):
    class Works:
        @hookimpl
        async def flext_request(self, connection):
            await connection.run(after, 0.2, OSError("timed out"))

    host = flext_world.serve(flext_service, Works)
    with options(deadline=0.1), pytest.raises(DeadlineExceeded) as caught:
        flext_world.get(host)
    assert "works's blocking work" in str(caught.value)


@pytest.mark.contract("operation-deadline")
def test_an_error_before_the_deadline_stays_what_it_is(flext_service, flext_world):
    host = flext_world.serve(flext_service, Lends, Judges)
    with options(deadline=30), pytest.raises(Down):
        search(flext_world, host, after, 0, Down("no directory"))
    assert Judges.latest.failures == [("Down", Failure.CONNECT)]


@pytest.mark.contract("operation-deadline")
def test_a_function_that_says_itself_what_it_waited_for_is_believed(flext_service, flext_world):
    host = flext_world.serve(flext_service, Lends)
    with options(deadline=0.1), pytest.raises(DeadlineExceeded, match="waiting for a lock"):
        search(flext_world, host, aafter, 0.2, DeadlineExceeded("waiting for a lock"))


class Batches:
    """Searches several times, in one call."""

    def __init__(self, connection):
        self.connection = connection

    async def searches(self, seconds):
        call, calls = self.connection.begin_call(), []
        for each in seconds:
            await self.connection.perform(SEARCH, self.one, each, calls, call=call)
        return calls

    def one(self, seconds, calls):
        calls.append(self.connection.call)
        return after(seconds)

    def search(self, *seconds):
        searching = self.searches(seconds)
        return searching if self.connection.asynchronous else self.connection.drive(searching)


class LendsBatches:
    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Batches, Batches(connection))


@pytest.mark.contract("operations-of-a-call")
def test_operations_that_belong_together_are_one_call(flext_service, flext_world):
    host = flext_world.serve(flext_service, LendsBatches)
    batches = flext_world.resource(host, Batches)
    with options(deadline=30, user="ana"):
        first, second = flext_world.run(lambda: batches.search(0, 0))
    assert first is second
    assert (first.service, first.user) == ("service", "ana")
    (other,) = flext_world.run(lambda: batches.search(0))
    assert (other.deadline, other.correlation_id != first.correlation_id) == (None, True)


@pytest.mark.contract("operations-of-a-call")
def test_they_end_with_its_deadline_together(flext_service, flext_world):
    host = flext_world.serve(flext_service, LendsBatches)
    batches = flext_world.resource(host, Batches)
    started = time.monotonic()
    with options(deadline=0.5), pytest.raises(DeadlineExceeded):
        flext_world.run(lambda: batches.search(*[0.2] * 50))
    assert time.monotonic() - started < 5


@pytest.mark.contract("operations-of-a-call")
def test_inside_an_exchange_they_belong_to_its_call(flext_service, flext_world):
    calls = []

    class Searches(LendsBatches):
        @hookimpl
        async def flext_request(self, connection):
            calls.extend([connection.call, *await Batches(connection).searches((0, 0))])

    flext_world.get(flext_world.serve(flext_service, Searches))
    assert len({*map(id, calls)}) == 1


@pytest.mark.contract("sync-awaits-the-connection-only")
def test_what_needs_an_event_loop_is_told_in_an_operation_of_a_sync_connection(flext_service):
    async def work():
        semaphore = asyncio.Semaphore(0)
        await semaphore.acquire()

    with World("httpx sync") as world:
        host = world.serve(flext_service, Lends)
        with pytest.raises(PluginError) as caught:
            search(world, host, work)
    said = str(caught.value)
    assert said.startswith("service: lends: perform raised ")
    assert "at test_operations.py:" in said
    assert said.endswith("it needs an event loop of its own; await what `connection` offers")


# Closed, and forked


@pytest.mark.contract("closed-host-refuses")
def test_what_was_lent_refuses_once_the_host_is_closed(flext_service, flext_world):
    host = flext_world.serve(flext_service, Lends)
    searcher = flext_world.resource(host, Searcher)
    assert flext_world.run(lambda: searcher.search(after, 0)) == "done"
    flext_world.run(host.aclose if flext_world.asynchronous else host.close)
    with pytest.raises(Refused, match=r"^service: the host is closed$"):
        flext_world.run(lambda: searcher.search(after, 0))


@pytest.mark.contract("closed-host-refuses")
def test_an_operation_is_not_done_again_where_the_host_closed_between_two_attempts(
    flext_service, flext_world
):
    done = []

    class Again:
        stage = Stage.RETRY

        @hookimpl
        async def flext_operation(self, operation, proceed):
            with suppress(Down):
                return await proceed(operation)
            return await proceed(operation)

    host = flext_world.serve(flext_service, Lends, Again)

    async def aclosing():
        done.append("once")
        await host.aclose()
        raise Down("closed under way")

    def closing():
        done.append("once")
        host.close()
        raise Down("closed under way")

    with pytest.raises(Refused, match="the host is closed"):
        search(flext_world, host, aclosing if flext_world.asynchronous else closing)
    assert done == ["once"]


async def _ask(host):
    return await host.aresource("service", Searcher)


@pytest.mark.contract("closed-host-refuses")
def test_what_a_loop_that_was_simply_closed_had_refuses_too(flext_service, flext_async_world):
    loop = asyncio.new_event_loop()
    host = flext_async_world.serve(flext_service, Lends)
    searcher = loop.run_until_complete(_ask(host))
    loop.close()
    host.close()
    with pytest.raises(Refused, match="the host is closed"):
        asyncio.run(searcher.search(after, 0))


@pytest.mark.contract("operation-names-its-plugin")
@pytest.mark.parametrize(
    "error", [ValueError("no running event loop, said the server"), asyncio.QueueEmpty()]
)
def test_an_error_that_only_looks_like_a_missing_loop_keeps_its_class(
    flext_service, flext_world, error
):
    host = flext_world.serve(flext_service, Lends)
    with pytest.raises(type(error)):
        search(flext_world, host, after, 0, error)


@pytest.mark.contract("closed-host-refuses")
def test_what_closes_with_the_host_may_do_a_last_operation(flext_service, flext_world):
    done = []

    class Flushes(Lends):
        @hookimpl
        def flext_connect(self, connection):
            searcher = Searcher(connection)

            def flush():
                return searcher.search(done.append, "flushed")

            connection.provide(Searcher, searcher, close=flush)

    host = flext_world.serve(flext_service, Flushes)
    flext_world.resource(host, Searcher)
    flext_world.run(host.aclose if flext_world.asynchronous else host.close)
    assert done == ["flushed"]


class Locks:
    """Passes operations and events one by one, as whoever holds its lock lets it."""

    stage = Stage.GUARD

    def __init__(self):
        self.lock = threading.Lock()

    @hookimpl
    async def flext_operation(self, operation, proceed):
        with self.lock:
            return await proceed(operation)

    @hookimpl
    def flext_event(self, event):
        with self.lock:
            Locks.heard = event


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.contract("fork-starts-afresh")
@pytest.mark.parametrize("use", ["perform", "emit", "permit"])
def test_what_was_lent_before_a_fork_goes_on_with_the_childs_own_plugins(flext_service, use):
    def hold():
        entered.set()
        leave.wait(10)

    def child():
        if use == "emit":
            searcher.connection.emit("an event")
        if use == "permit":
            with ThreadPoolExecutor(1) as pool:
                holding = searcher.connection.permit("key", 1)
                searcher.connection.drive(holding.__aenter__())
                assert searcher.search(after, 0) == "done"
                waiting = pool.submit(
                    lambda: searcher.connection.drive(
                        searcher.connection.permit("key", 1, queue=0).__aenter__()
                    )
                )
                return isinstance(waiting.exception(), Refused)
        return searcher.search(after, 0) == "done"

    with World("httpx sync") as world:
        host = world.serve(flext_service, Lends, Locks)
        searcher = world.resource(host, Searcher)
        entered, leave = threading.Event(), threading.Event()
        holder = threading.Thread(target=searcher.search, args=(hold,))
        holder.start()
        entered.wait(5)  # a thread that no child has holds the lock of the parent's plugin
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork with threads
            pid = os.fork()
        if pid == 0:
            signal.alarm(10)
            code = 1
            try:
                code = 0 if child() else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        leave.set()
        holder.join(5)


# Errors


@pytest.mark.contract("operation-names-its-plugin")
@pytest.mark.parametrize("function", [after, aafter])
def test_an_error_of_an_operation_names_the_plugin_the_service_and_the_call(
    flext_service, flext_world, function
):
    host = flext_world.serve(flext_service, Lends)
    with pytest.raises(Down) as caught:
        search(flext_world, host, function, 0, Down("no directory"))
    error = caught.value
    assert (error.plugin, error.service, error.call.service) == ("lends", "service", "service")
    assert str(error) == "service: lends: no directory"


@pytest.mark.contract("operation-names-its-plugin")
def test_an_error_that_names_another_plugin_is_believed(flext_service, flext_world):
    host = flext_world.serve(flext_service, Lends)
    error = Down("no directory").add_context(plugin="other")
    with pytest.raises(Down) as caught:
        search(flext_world, host, after, 0, error)
    assert caught.value.plugin == "other"


@pytest.mark.contract("operation-names-its-plugin")
def test_a_foreign_error_stays_what_it_is_and_says_by_a_note_whose_it_is(
    flext_service, flext_world
):
    class Again:
        stage = Stage.RETRY

        @hookimpl
        async def flext_operation(self, operation, proceed):
            try:
                return await proceed(operation)
            except KeyError:
                return await proceed(operation)

    error = KeyError("uid")
    with pytest.raises(KeyError) as caught:
        search(flext_world, flext_world.serve(flext_service, Lends, Again), after, 0, error)
    assert caught.value is error
    assert error.__notes__ == [
        "in the operation 'search' at ldap dir:389, by plugin 'lends' of service 'service'"
    ]


@pytest.mark.contract("operation-names-its-plugin")
def test_a_foreign_error_that_takes_no_notes_passes_all_the_same(flext_service, flext_world):
    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    with pytest.raises(Frozen):
        search(flext_world, flext_world.serve(flext_service, Lends), after, 0, Frozen(7))


@pytest.mark.contract("operation-names-its-plugin", "refusal-is-told")
def test_an_operation_that_refuses_itself_is_told_as_a_refusal(
    flext_service, flext_world, flext_record
):
    host = flext_world.serve(flext_service, Lends, flext_record.of())
    with pytest.raises(Refused) as caught:
        search(flext_world, host, after, 0, Refused("the directory is closed", retry_after=3))
    assert (caught.value.plugin, caught.value.call.answered_by) == ("lends", "lends")
    (told,) = flext_record.events(events.CallRefused)
    assert (told.plugin, told.reason, told.retry_after) == ("lends", "the directory is closed", 3)


@pytest.mark.contract("operation-names-its-plugin")
def test_an_error_of_an_operation_in_a_hook_is_the_hooks_as_any_other(flext_service, flext_world):
    class Hooks:
        @hookimpl
        async def flext_request(self, connection):
            await connection.perform(SEARCH, after, 0, KeyError("uid"))

    with pytest.raises(PluginError, match="hooks: flext_request raised KeyError") as caught:
        flext_world.get(flext_world.serve(flext_service, Hooks))
    assert isinstance(caught.value.__cause__, KeyError)


# Failures


@pytest.mark.contract("operation-failures")
@pytest.mark.parametrize("error", [OSError("down"), ConnectionResetError(), TimeoutError()])
def test_an_error_whose_class_says_nothing_is_no_failure(flext_service, flext_world, error):
    host = flext_world.serve(flext_service, Lends, Judges)
    with pytest.raises(type(error)):
        search(flext_world, host, after, 0, error)
    assert Judges.latest.failures == [(type(error).__name__, None)]


class BrokerTimeout(Exception):
    """A driver's own."""


class OperationalError(Exception):
    """As DB-API has it."""


class QueueUnreachable(FlextError):
    """A plugin's own, without a failure."""


class Rejected(FlextError):
    """The system works, and said no."""


def caused(error, cause):
    error.__cause__ = cause
    return error


LIKE_THE_WIRES = {
    "OSError": OSError("down"),
    "ConnectionResetError": ConnectionResetError(),
    "TimeoutError": TimeoutError(),
    "BrokerTimeout": BrokerTimeout(),
    "OperationalError": OperationalError(),
    "QueueUnreachable": QueueUnreachable("down"),
    "wrapped": caused(Rejected("no"), TimeoutError()),
}
NOT_LIKE_THE_WIRES = {
    "with a failure": caused(Down("down"), OSError("down")),
    "a rejection": caused(Rejected("no"), KeyError("no")),
    "a driver's, made a rejection": caused(Rejected("no"), OperationalError("no such table")),
    "ValueError": ValueError("no"),
    "DeadlineExceeded": caused(DeadlineExceeded("late"), TimeoutError()),
    "Refused": Refused("closed"),
}


def judged(error, world):
    """Hold a plugin to the rule whose operation raises `error`."""

    class TestLends(PluginConformance):
        plugin = Lends

        async def exercise(self, trial):
            searcher = await trial.resource(Searcher)
            with pytest.raises(type(error)):
                await trial.call(searcher.search, after, 0, error)

    TestLends().test_an_error_of_the_wire_is_told_as_one(world)


@pytest.mark.once
@pytest.mark.contract("operation-failures")
@pytest.mark.parametrize("what", LIKE_THE_WIRES)
def test_the_kit_tells_of_an_error_that_looks_like_the_wires_and_says_nothing(what):
    with pytest.raises(pytest.fail.Exception, match="search at ldap raised .* no `failure`"):
        judged(LIKE_THE_WIRES[what], "httpx sync")


@pytest.mark.once
@pytest.mark.contract("operation-failures")
@pytest.mark.parametrize("what", NOT_LIKE_THE_WIRES)
def test_the_kit_leaves_other_errors_of_operations_alone(what):
    judged(NOT_LIKE_THE_WIRES[what], "httpx async")


# What resources are written with


class Numbers:
    """What a plugin lends: pages of numbers, by one body of logic."""

    def __init__(self, connection):
        self.connection, self.ended = connection, []
        self.generators = []  # kept, so that Python does not close them

    async def apages(self, most):
        try:
            for number in range(most):
                yield await self.connection.perform(SEARCH, lambda: number)  # noqa: B023
            raise KeyError(most)
        finally:
            await self.connection.sleep(0)
            self.ended.append(most)

    def pages(self, most):
        self.generators.append(self.apages(most))
        return self.connection.iterate(self.generators[-1])


class LendsNumbers:
    @hookimpl
    def flext_connect(self, connection):
        connection.provide(Numbers, Numbers(connection))


@pytest.mark.contract("sync-resources-are-driven")
def test_a_sync_iterator_runs_an_async_generator_page_by_page(
    flext_service, flext_sync_world, flext_record
):
    host = flext_sync_world.serve(flext_service, LendsNumbers, flext_record.of())
    numbers = flext_sync_world.resource(host, Numbers)
    pages = numbers.pages(3)
    assert next(pages) == 0
    assert len(flext_record.hooks("flext_operation")) == 1
    assert next(pages) == 1
    assert numbers.ended == []
    pages.close()
    assert numbers.ended == [3]


@pytest.mark.contract("sync-resources-are-driven")
def test_an_error_of_the_generator_leaves_the_iterator(flext_service, flext_sync_world):
    numbers = flext_sync_world.resource(
        flext_sync_world.serve(flext_service, LendsNumbers), Numbers
    )
    with pytest.raises(KeyError):
        list(numbers.pages(3))
    assert numbers.ended == [3]


@pytest.mark.contract("sync-resources-are-driven")
def test_in_an_event_loop_nothing_is_driven(flext_service, flext_async_world):
    host = flext_async_world.serve(flext_service, LendsNumbers)
    numbers = flext_async_world.resource(host, Numbers)
    with pytest.raises(PluginError, match="drive belongs to sync connections"):
        next(numbers.pages(3))


@pytest.mark.contract("timeouts-fit-the-deadline")
def test_a_time_out_ends_no_later_than_the_deadline(flext_service, flext_world):
    seconds = []

    class Asks:
        @hookimpl
        def flext_request(self, connection):
            seconds.extend(connection.timeout(each) for each in (9.0, 0.1, None))

    host = flext_world.serve(flext_service, Asks)
    flext_world.get(host)
    assert seconds == [9, 0.1, None]
    seconds.clear()
    with options(deadline=5):
        flext_world.get(host)
    assert 4 < seconds[0] < 5.1
    assert seconds[1] == 0.1
    assert 4 < seconds[2] < 5.1


@pytest.mark.contract("timeouts-fit-the-deadline")
def test_a_time_out_after_the_deadline_is_none(flext_service, flext_world):
    def work(connection):
        time.sleep(0.2)
        connection.timeout(9)

    class Asks:
        @hookimpl
        async def flext_request(self, connection):
            await connection.run(work, connection)

    host = flext_world.serve(flext_service, Asks)
    with options(deadline=0.1), pytest.raises(DeadlineExceeded):
        flext_world.get(host)


@pytest.mark.contract("operation-names-its-plugin")
def test_a_resource_says_of_an_error_outside_of_operations_whose_it_is(flext_service, flext_world):
    class Unknown(FlextError):
        """Nobody has that name."""

    host = flext_world.serve(flext_service, LendsNumbers)
    numbers = flext_world.resource(host, Numbers)
    error = Unknown("no such number")
    assert numbers.connection.add_context(error) is error
    assert str(error) == "service: lendsnumbers: no such number"
    assert (error.plugin, error.service, error.call) == ("lendsnumbers", "service", None)
