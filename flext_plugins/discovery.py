"""What is installed, read from metadata alone: nothing is imported because it is installed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from importlib_metadata import Distribution, EntryPoint
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .errors import PluginConflict, PluginIncompatible, PluginNotFound
from .hookspecs import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = "flext-plugins"
RESERVED = {
    name: f"{OURS}-{name}"
    for name in (
        *("auth", "circuit-breaker", "ldap", "meltano", "metrics", "oracle", "retry", "tracing"),
    )
}
"""Our own plugins' names, and the only distribution that each resolves to by itself."""

Status: TypeAlias = Literal["ready", "incompatible", "conflict", "corrupt"]


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """One entry point of the group `flext_plugins`, or one distribution that cannot be read."""

    name: str
    distribution: str
    version: str
    target: str
    """`module:Class`."""
    status: Status = "ready"
    problem: str = ""
    """What is wrong and what to do; empty when ready."""


def installed() -> list[InstalledPlugin]:
    """Every plugin that installed distributions offer, by name; imports none.

    A distribution that cannot be read costs one record of status `corrupt`; of several copies on
    `sys.path` only the first counts, and what a broken uninstall left (`~name`) is passed over.
    """
    found = [record for each in _distributions() for record in _records(each)]
    counts = Counter(record.name for record in found if record.status != "corrupt")
    return sorted(
        (_judged(record, counts) for record in found),
        key=lambda record: (record.name, record.distribution),
    )


def _distributions() -> Iterator[Distribution]:
    seen: set[str] = set()
    for each in Distribution.discover():
        folder = getattr(getattr(each, "_path", None), "name", "")  # there is no public way
        if folder.startswith("~"):
            continue
        name = canonicalize_name(_name(each) or folder.partition("-")[0])
        if name not in seen:
            seen.add(name)
            yield each


def _name(distribution: Distribution) -> str | None:
    try:
        name: str | None = distribution.metadata["Name"]
    except Exception:
        return None
    return name


def _records(distribution: Distribution) -> Iterator[InstalledPlugin]:
    folder = getattr(getattr(distribution, "_path", None), "name", "unknown")
    name = _name(distribution)
    shown = name or folder.rpartition(".")[0] or folder
    corrupt = InstalledPlugin("", shown, "", "", "corrupt")
    try:
        text = distribution.read_text("entry_points.txt")
    except (OSError, UnicodeError) as error:
        problem = f"entry_points.txt cannot be read ({type(error).__name__}): reinstall {shown}"
        yield replace(corrupt, problem=problem)
        return
    if text is None or GROUP not in text:
        return
    try:
        points = list(distribution.entry_points.select(group=GROUP))
    except Exception:
        yield replace(corrupt, problem=f"entry_points.txt is malformed: reinstall {shown}")
        return
    if name is None:
        yield replace(corrupt, problem=f"METADATA is missing: reinstall {shown}")
        return
    for point in points:
        record = InstalledPlugin(point.name, name, distribution.version, point.value)
        if problem := _incompatible(distribution, record):
            record = replace(record, status="incompatible", problem=problem)
        yield record


def _incompatible(distribution: Distribution, record: InstalledPlugin) -> str:
    """Why the plugin's requirement on us does not fit; releases compared, so betas count."""
    from . import __version__  # noqa: PLC0415 - the package imports this module late

    try:
        wanted = [Requirement(text) for text in distribution.requires or ()]
    except InvalidRequirement:
        return f"its requirements cannot be read: reinstall {record.distribution}"
    release = Version(__version__).base_version
    for each in wanted:
        applies = each.marker is None or each.marker.evaluate({"extra": ""})
        ours = canonicalize_name(each.name) == OURS and applies
        if ours and not each.specifier.contains(release, prereleases=True):
            return (
                f"asks for {OURS}{each.specifier}, and {__version__} is installed: "
                f"install a {record.distribution} that fits"
            )
    return ""


def _judged(record: InstalledPlugin, counts: Counter[str]) -> InstalledPlugin:
    if record.status != "ready":
        return record
    owner = RESERVED.get(record.name)
    if owner is not None:
        if canonicalize_name(record.distribution) == owner:
            return record
        problem = f"the name {record.name!r} belongs to {owner}"
    elif counts[record.name] > 1:
        problem = f"another distribution offers {record.name!r} too"
    else:
        return record
    chosen = f'say use = "{record.distribution}:{record.name}" to mean this one'
    return replace(record, status="conflict", problem=f"{problem}: {chosen}")


def find(name: str, use: str | None = None) -> InstalledPlugin:
    """The plugin that `name` means, or that `use` (`distribution:name`) picks.

    Raises:
        PluginNotFound: nobody offers it; the message names the nearest that is.
        PluginConflict: several do, or a stranger a name of ours; all are named.
        PluginIncompatible: it asks for another version of us.
    """
    records = installed()
    distribution, _, wanted = (use or "").rpartition(":")
    found = [
        each
        for each in records
        if each.name == (wanted or name)
        and (not use or canonicalize_name(each.distribution) == canonicalize_name(distribution))
    ]
    if not found:
        near = get_close_matches(name, {each.name for each in records if each.name}, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        owner = RESERVED.get(name)
        advice = f"pip install {owner}" if owner and not use else "see `flext-plugins list`"
        raise PluginNotFound(f"no installed plugin is named {use or name!r}{hint} ({advice})")
    ready = [each for each in found if each.status == "ready"]
    picked = found if use else ready
    if len(picked) == 1 and picked[0].status != "incompatible":
        return picked[0]
    if bad := [each for each in found if each.status == "incompatible"]:
        raise PluginIncompatible(f"{bad[0].distribution} {bad[0].version}: {bad[0].problem}")
    raise PluginConflict("; ".join(f"{each.distribution}: {each.problem}" for each in found))


def load(record: InstalledPlugin) -> Any:
    """Import what `record` points to.

    Raises:
        Exception: whatever importing it raises.
    """
    return EntryPoint(record.name, record.target, GROUP).load()


def installed_version(distribution: str) -> str | None:
    """The version on disk now, or `None` if it is gone."""
    found = next((each for each in installed() if each.distribution == distribution), None)
    return found.version if found else None
