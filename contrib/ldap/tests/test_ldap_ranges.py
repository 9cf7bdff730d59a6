"""What a server gives in parts, or ends early, is whole or an error: no list is cut.

Active Directory gives 1,500 values of an attribute at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from flext_plugins_ldap import DirectoryError, DirectoryUnavailable
from scripted import (
    BUSY,
    NO_RIGHT,
    NO_SUCH,
    OTHER,
    UNAVAILABLE,
    UNWILLING,
    Entry,
)

from flext_plugins import Refused, options
from flext_plugins.testing import LoopbackService, World

GROUPS = [f"cn=g{number},dc=x" for number in range(3700)]
NAMES = [f"g{number}" for number in range(3700)]
STEP = 1500
DN = "uid=ana,dc=x"


class Way(NamedTuple):
    """How a server gives the second part of a list, or does not."""

    code: int = 0
    error: type[Exception] | None = None
    option: str = "range"
    attribute: str = "memberOf"
    beside: Mapping[str, Sequence[str]] = {}
    """Other attributes of each part."""
    second: Callable[[], list[Entry]] | None = None
    """Makes the entries of the second answer, if they are others than those that are due."""


def nobody() -> list[Entry]:
    return []


def without_it() -> list[Entry]:
    return [(DN, {"uid": ["ana"]})]


def the_first_again() -> list[Entry]:
    return [(DN, {f"memberOf;range=0-{STEP - 1}": GROUPS[:STEP]})]


def backwards() -> list[Entry]:
    return [(DN, {f"memberOf;range={STEP}-0": GROUPS[:1]})]


WAYS = {
    "given": Way(),
    "in capitals": Way(option="RANGE", attribute="MEMBEROF"),
    "beside an empty one": Way(beside={"memberOf": []}),
    "beside an empty one of another range": Way(beside={f"memberOf;range={STEP}-*": []}),
    "busy": Way(BUSY, DirectoryUnavailable),
    "unavailable": Way(UNAVAILABLE, DirectoryUnavailable),
    "unwilling": Way(UNWILLING, DirectoryError),
    "gone": Way(NO_SUCH, DirectoryError),
    "another error": Way(OTHER, DirectoryError),
    "no entry": Way(error=DirectoryError, second=nobody),
    "no such attribute": Way(error=DirectoryError, second=without_it),
    "the first part again": Way(error=DirectoryError, second=the_first_again),
    "a part that goes back": Way(error=DirectoryError, second=backwards),
}


def answering(way: Way) -> Callable[[Mapping[str, Any]], tuple[int, list[Entry]]]:
    """Gives ana's groups in parts."""

    def answer(search: Mapping[str, Any]) -> tuple[int, list[Entry]]:
        asked = [each for each in search["attributes"] if each.lower().startswith("memberof")]
        if not asked:
            return 0, [(DN, {"uid": ["ana"]})] if search["base"] else []
        _, _, place = asked[0].partition("range=")
        first = int(place.split("-")[0]) if place else 0
        last = "*" if first + STEP >= len(GROUPS) else str(first + STEP - 1)
        name = f"{way.attribute};{way.option}={first}-{last}"
        part = {"uid": ["ana"], **way.beside, name: GROUPS[first : first + STEP]}
        if place and way.code:
            return way.code, []
        if place and way.second is not None:
            return 0, way.second()
        return 0, [(DN, part)]

    return answer


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_list_that_comes_in_ranges_is_whole_or_an_error(
    ask: Any, scripted: Any, way: Way
) -> None:
    directory = ask(scripted(answering(way)), attributes=["memberOf"])
    if way.error is None:
        assert directory.groups("ana") == NAMES
        (entry,) = directory.search("(uid=ana)", attributes=["memberOf", "uid"])
        assert [*entry.attributes["memberOf"]] == GROUPS
        return
    for method, arguments in (
        ("groups", ["ana"]),
        ("user", ["ana", ["memberOf"]]),
        ("authenticate", ["ana", "x"]),
        ("search", ["(uid=ana)"]),
    ):
        wanted = {"attributes": ["memberOf"]} if method == "search" else {}
        with pytest.raises(way.error) as caught:
            getattr(directory, method)(*arguments, **wanted)
        assert isinstance(caught.value, DirectoryError)


def test_who_asks_for_a_range_gets_that_range(ask: Any, scripted: Any) -> None:
    directory = ask(scripted(answering(Way())))
    (entry,) = directory.search("(uid=ana)", attributes=["memberOf;range=1500-*"])
    assert [*entry.attributes["memberOf;range=1500-2999"]] == GROUPS[1500:3000]


@pytest.mark.parametrize(("code", "entries"), [(4, 1), (3, 2), (11, 2), (4, 0)])
def test_a_search_that_the_server_ended_early_finds_nobody(
    ask: Any, scripted: Any, code: int, entries: int
) -> None:
    """Where it gives one entry of at most two, nobody knows whether there is another."""
    found = [(f"uid=ana,ou=o{number},dc=x", {"uid": ["ana"]}) for number in range(entries)]
    directory = ask(scripted(lambda search: (code if search["base"] else 0, found)))
    with pytest.raises(DirectoryError, match=rf"\({code}\)"):
        directory.user("ana")
    with pytest.raises(DirectoryError, match=rf"\({code}\)"):
        directory.search("(uid=ana)")


@pytest.mark.once
@pytest.mark.parametrize("code", [BUSY, UNWILLING])
def test_no_request_goes_out_with_a_part_of_the_groups(
    flext_world: World, flext_service: LoopbackService, scripted: Any, code: int
) -> None:
    ldap = scripted(answering(Way(code))).settings()
    service = {"base_url": flext_service.url, "plugins": {"ldap": ldap}}
    host = flext_world.host({"services": {"service": service}})
    with options(user="ana"), pytest.raises(Refused, match="the directory cannot be asked"):
        flext_world.get(host)
    assert flext_service.received == []


@pytest.mark.parametrize(
    ("code", "is_well"),
    [(0, True), (NO_SUCH, True), (NO_RIGHT, True)]
    + [(each, False) for each in (BUSY, UNAVAILABLE, UNWILLING, OTHER, 1, 8)],
)
def test_health_looks_at_the_result_of_what_it_asked(
    ask: Any, scripted: Any, code: int, *, is_well: bool
) -> None:
    """A server that answers and hides its root entry is well: what else is asked may do."""
    directory = ask(scripted(lambda _: (code, [])))
    if is_well:
        assert directory.health().startswith("127.0.0.1:")
        return
    with pytest.raises(DirectoryError, match=rf"\({code}\)"):
        directory.health()
