"""The kit that plugin authors get, for all tests; the seconds of each distribution, at the end."""

from __future__ import annotations

import gc
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

pytest_plugins = ["flext_plugins.testing"]
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's `&` has it, for all programs
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected: there is none, and it takes half the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()  # freezing all would save more, and Hypothesis 6.100 fails then


@pytest.hookimpl(trylast=True)  # below the slowest tests
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the seconds that each distribution's tests took, those of all processes together."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[_distribution(report.nodeid)] += report.duration
    if seconds:
        terminalreporter.section("seconds of tests, by distribution")
        for name, spent in seconds.most_common():
            terminalreporter.write_line(f"{spent:8.2f}s {name}")


def _distribution(nodeid: str) -> str:
    """Name the distribution whose test this is, from where it lies: `contrib/auth/tests/...`."""
    top, _, below = nodeid.partition("/")
    return f"flext-plugins-{below.partition('/')[0]}" if top == "contrib" else "flext-plugins"
