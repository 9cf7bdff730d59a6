"""Checks for the acts of the demo, and the errors of those that fail."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from flext_plugins_devstack.server import Received
from flext_plugins_devstack.stack import Devstack

T = TypeVar("T")

CONFIG = Path(__file__).parents[1] / "flext.toml"
CALLERS = 20
PATIENCE = 10.0  # seconds that callers wait for each other, at most


class Unmet(Exception):
    """An act did not see what it promises."""


class Skipped(Exception):
    """An act needs something that is not installed; the message says how to install it."""


def expect(what: str, expected: object, actual: object) -> None:
    """Compare two values; neither may hold a secret, because the message shows both.

    Raises:
        Unmet: they differ.
    """
    if actual != expected:
        raise Unmet(f"{what}: expected {expected}, saw {actual}")


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and restore the old ones at the end."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Since:
    """The requests and logins that the servers have seen since this was made."""

    def __init__(self, stack: Devstack) -> None:
        self._stack = stack
        self._before = (len(stack.flexcore.received), len(stack.echo.received))
        self._logins = stack.auth.logins

    @property
    def flexcore(self) -> list[Received]:
        """Requests at FlexCore."""
        return self._stack.flexcore.received[self._before[0] :]

    @property
    def elsewhere(self) -> list[Received]:
        """Requests at the third origin, the echo."""
        return self._stack.echo.received[self._before[1] :]

    @property
    def logins(self) -> int:
        """Logins that flext-auth granted, by its own count."""
        return self._stack.auth.logins - self._logins


def together(work: Callable[[], T]) -> list[T]:
    """The results of `work` in as many threads as there are callers, all started at once."""
    ready = threading.Barrier(CALLERS)

    def run() -> T:
        ready.wait(PATIENCE)
        return work()

    with ThreadPoolExecutor(CALLERS) as pool:
        return [each.result() for each in [pool.submit(run) for _ in range(CALLERS)]]


def summary(actual: Counter[T]) -> str:
    """Count the outcomes, in words."""
    return ", ".join(f"{count} x {what}" for what, count in actual.most_common())
