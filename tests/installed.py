"""What becomes of a test where the server that it talks to is not installed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from flext_plugins_devstack import NotInstalled

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def or_skipped() -> Iterator[None]:
    """Where there is no such server the test is skipped, or fails where CI is set."""
    try:
        yield
    except NotInstalled as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error} (nothing is skipped where CI is set)", pytrace=False)
        pytest.skip(f"{error}; see tools/servers.sh")
