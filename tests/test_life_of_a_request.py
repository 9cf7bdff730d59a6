"""docs/explanation/life-of-a-request.md says what one call enters, in order; here the call is made."""

import gc
import re
import sys
from pathlib import Path

import pytest
from flext_plugins_devstack import Devstack

import flext_plugins
from flext_plugins import Host

pytestmark = pytest.mark.once

CORE = Path(flext_plugins.__file__).parent
PAGE = CORE.parent / "docs/explanation/life-of-a-request.md"
RECORDS = {"_call.py", "_service.py", "_messages.py", "_errors.py", "_clients/messages.py"}
RECORDS |= {"_clients/httpx/messages.py"}


def parts(page):
    """The page's tables by heading: rows of (file, functions)."""
    for section in page.split("\n## ")[1:]:
        rows = re.findall(r"^\| `([\w/]+\.py)` +\| (.*?) +\|", section, re.MULTILINE)
        if rows:
            name = section.partition("\n")[0]
            yield name, [(file, re.findall(r"`([\w.]+)`", functions)) for file, functions in rows]


def file_of(code):
    """The file below `flext_plugins`, `plugin` for one of a plugin's, else nothing."""
    if code.co_filename.startswith(str(CORE)):
        return str(Path(code.co_filename).relative_to(CORE))
    return "plugin" if "flext_plugins_" in code.co_filename else ""


def is_plugins(frame):
    """Whether a plugin caused this, by its hook or by what it asked of its connection."""
    while frame is not None:
        file = file_of(frame.f_code)
        if frame.f_code.co_qualname == "Send.__call__":
            return False
        if file in {"plugin", "_connections/connection.py", "_connections/messaging.py"}:
            return True
        frame = frame.f_back
    return False


def visits(calls):
    """Runs of calls in one file: (file, functions), each function once."""
    grouped = []
    for file, function in calls:
        if not grouped or grouped[-1][0] != file:
            grouped.append((file, []))
        if function not in grouped[-1][1]:
            grouped[-1][1].append(function)
    return grouped


@pytest.fixture(scope="module")
def traced():
    calls = []

    def note(frame, event, _):
        file = file_of(frame.f_code)
        if event == "call" and file not in {"", "plugin", *RECORDS} and not is_plugins(frame):
            calls.append((file, frame.f_code.co_qualname.rpartition("<locals>.")[2]))

    with Devstack() as stack:
        plugins = {"auth": {"scheme": "bearer", "token": "t"}, "circuit-breaker": {}}
        services = {"flexcore": {"base_url": stack.flexcore.url, "plugins": plugins}}
        with Host({"services": services}) as host, host.connect("flexcore") as client:
            client.get("/health")
            before = sys.getprofile()
            gc.disable()  # what it collects meanwhile is of other calls
            sys.setprofile(note)
            try:
                response = client.get("/health")
            finally:
                sys.setprofile(before)
                gc.enable()
            assert response.status_code == 200
    return visits(calls)


def test_the_page_tells_what_a_call_enters_in_order(traced):
    told = [row for _, rows in parts(PAGE.read_text(encoding="utf-8")) for row in rows]
    assert told == traced


def test_no_file_is_entered_twice_on_the_way_in_or_on_the_way_out():
    sections = dict(parts(PAGE.read_text(encoding="utf-8")))
    assert list(sections) == ["The way in", "The way out", "The body"]
    for rows in sections.values():
        files = [file for file, _ in rows]
        assert len(files) == len(set(files))
    assert len({file for rows in sections.values() for file, _ in rows}) <= 11
