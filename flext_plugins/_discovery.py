"""Installed plugins, read from metadata alone: nothing is imported because it is installed."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from difflib import get_close_matches
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from importlib_metadata import Distribution, EntryPoint, version
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from flext_plugins._errors import ConfigError, PluginConflict, PluginIncompatible, PluginNotFound
from flext_plugins._version import __version__
from flext_plugins.hookspecs import GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

OURS = "flext-plugins"
COMMANDS = f"{GROUP}.commands"
"""The entry-point group of commands."""
NAME = re.compile(r"\s*[A-Za-z0-9][A-Za-z0-9._-]*")
"""The name that a line of requirements begins with."""
RESERVED = {
    name: f"{OURS}-{name}"
    for name in (
        *("auth", "circuit-breaker", "ldap", "meltano", "metrics", "oracle", "retry", "tracing"),
    )
}
"""Our own plugins' names, and the only distribution that each resolves to by itself."""

Status: TypeAlias = Literal["ready", "incompatible", "conflict", "corrupt", "denied", "broken"]
"""Only a configuration denies a plugin; only who imports it learns that it is broken."""


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """One plugin or command that is offered, or one distribution that cannot be read."""

    name: str
    distribution: str
    version: str
    target: str
    """`module:Class`."""
    status: Status = "ready"
    problem: str = ""
    """What is wrong and what to do; empty if all is well."""


def installed() -> list[InstalledPlugin]:
    """Every plugin that installed distributions offer, by name; imports none.

    A distribution that cannot be read costs one record of status `corrupt`; of several copies on
    `sys.path` only the first counts, and what a broken uninstall left (`~name`) is passed over.
    """
    return installed_under(lambda *_: "")


def installed_under(refusal: Callable[[str, str], str]) -> list[InstalledPlugin]:
    """Every plugin, as `installed` has them; those that are refused have the status `denied`.

    Args:
        refusal: says why a plugin may not be imported, by its distribution and its module; nothing
            if it may. One that may not takes no name from another.
    """
    return _offered(GROUP, 'say use = "{distribution}:{name}" to mean this one', refusal)


def commands() -> list[InstalledPlugin]:
    """Every command that installed distributions offer, by name; imports none."""
    offered = _offered(COMMANDS, "uninstall {distribution} or the other one", lambda *_: "")
    return [each for each in offered if each.status != "corrupt"]


def _offered(group: str, remedy: str, refusal: Callable[[str, str], str]) -> list[InstalledPlugin]:
    read = [each for place in _distributions() for each in _records(*place, group)]
    found = [_admitted(each, refusal) for each in read]
    rivals = [each for each in found if each.status not in {"corrupt", "denied"}]
    counts = Counter(canonicalize_name(each.name) for each in rivals)
    return sorted(
        (_judged(record, counts, remedy) for record in found),
        key=lambda record: (record.name, record.distribution),
    )


def _admitted(record: InstalledPlugin, refusal: Callable[[str, str], str]) -> InstalledPlugin:
    """`record`, denied if it may not be imported."""
    why = record.name and refusal(record.distribution, record.target.partition(":")[0])
    return replace(record, status="denied", problem=why) if why else record


def _distributions() -> Iterator[tuple[str, Distribution]]:
    """Each distribution with its folder, in the order of `sys.path`.

    Of several copies it is the first that has metadata: an upgrade may leave a folder behind.
    """
    found: dict[str, list[tuple[str, Distribution]]] = {}
    for each in Distribution.discover():
        folder = _folder(each)
        if not folder.startswith("~"):
            found.setdefault(canonicalize_name(folder.partition("-")[0]), []).append((folder, each))
    for copies in found.values():
        whole = (each for each in copies if len(copies) == 1 or _has_metadata(each[1]))
        yield next(whole, copies[0])


def _has_metadata(distribution: Distribution) -> bool:
    try:
        return bool(_metadata_text(distribution))
    except (OSError, UnicodeError):
        return False


def _metadata_text(distribution: Distribution) -> str:
    texts = (distribution.read_text(each) for each in ("METADATA", "PKG-INFO"))
    return next(filter(None, texts), "")


def _folder(distribution: Distribution) -> str:
    """`name-version`, as the folder says, to which there is no public way; spares its METADATA."""
    stem: str = getattr(getattr(distribution, "_path", None), "stem", "EGG-INFO")
    if stem != "EGG-INFO":
        return stem
    try:
        return f"{distribution.name.replace('-', '_')}-{distribution.version}"
    except Exception:
        return "unknown"


def _records(folder: str, distribution: Distribution, group: str) -> Iterator[InstalledPlugin]:
    corrupt = InstalledPlugin("", folder, "", "", "corrupt")
    try:
        text = distribution.read_text("entry_points.txt")
    except (OSError, UnicodeError) as error:
        problem = f"entry_points.txt cannot be read ({type(error).__name__}): reinstall it"
        yield replace(corrupt, problem=problem)
        return
    if text is None or group not in text:
        return
    try:
        points = list(distribution.entry_points.select(group=group))
    except Exception:
        yield replace(corrupt, problem="entry_points.txt is malformed: reinstall it")
        return
    try:
        # Without the description: parsing that of each takes longer than all else that a host does.
        head = HeaderParser().parsestr(_metadata_text(distribution).partition("\n\n")[0])
        (name,), (number,) = head.get_all("Name", []), head.get_all("Version", [])
        requires = head.get_all("Requires-Dist") or distribution.requires or ()
        status, problem = _requirement(name, requires)
    except Exception:
        yield replace(corrupt, problem="METADATA is missing or malformed: reinstall it")
        return
    for point in points:
        yield InstalledPlugin(point.name, name, number, point.value, status, problem)


def _requirement(distribution: str, lines: Iterable[str]) -> tuple[Status, str]:
    """Whether what it requires of us fits; releases are compared, so betas count."""
    release, requires = Version(__version__).base_version, False
    for line in lines:
        named = NAME.match(line)
        if named is None or canonicalize_name(named[0].strip()) != OURS:  # not ours to judge
            continue
        each = Requirement(line)
        if each.marker is not None and not each.marker.evaluate({"extra": ""}):
            continue
        requires = True
        if not each.specifier.contains(release):
            wanted = f"asks for {OURS}{each.specifier}, and {__version__} is installed"
            return "incompatible", f"{wanted}: install a {distribution} that fits"
    major = release.partition(".")[0]
    range_ = f"{OURS}>={major},<{int(major) + 1}"
    advice = f"it does not require {OURS}: add {range_!r} to {distribution}"
    return "ready", "" if requires else advice


def _judged(
    record: InstalledPlugin, counts: Mapping[NormalizedName, int], remedy: str
) -> InstalledPlugin:
    """`record`, in conflict if another distribution offers its name or owns it."""
    name = canonicalize_name(record.name)
    owner = RESERVED.get(name)
    is_owner = canonicalize_name(record.distribution) == owner
    if record.status != "ready" or is_owner or (owner is None and counts[name] == 1):
        return record
    problem = (
        f"the name {record.name!r} belongs to {owner}"
        if owner
        else f"another distribution offers {record.name!r} too"
    )
    chosen = remedy.format(distribution=record.distribution, name=record.name)
    return replace(record, status="conflict", problem=f"{problem}: {chosen}")


def find(
    records: list[InstalledPlugin], name: str, use: str | None, others: Iterable[str]
) -> InstalledPlugin:
    """The plugin among `records` that `name` means, or that `use` (`distribution:name`) picks.

    Names are compared as those of distributions are: `Bad_Name` is `bad-name`. `others` are names
    that could have been meant as well.

    Raises:
        PluginNotFound: nobody offers it; the message names the nearest that is.
        PluginConflict: several do, or a stranger a name of ours; all are named.
        PluginIncompatible: it asks for another version of us.
        ConfigError: it is denied.
    """
    distribution, _, wanted = use.rpartition(":") if use else ("", "", name)
    found = [
        each
        for each in records
        if canonicalize_name(each.name) == canonicalize_name(wanted)
        and (not use or canonicalize_name(each.distribution) == canonicalize_name(distribution))
    ]
    if not found:
        raise PluginNotFound(_not_found(records, wanted, use, others))
    picked = found if use else [each for each in found if each.status == "ready"]
    if len(picked) == 1 and picked[0].status not in {"incompatible", "denied"}:
        return picked[0]
    told = "; ".join(f"{each.distribution} {each.version}: {each.problem}" for each in found)
    if any(each.status == "conflict" for each in found):
        raise PluginConflict(told)
    if any(each.status == "denied" for each in found):
        raise ConfigError(told)
    raise PluginIncompatible(told)


def _not_found(
    records: list[InstalledPlugin], name: str, use: str | None, others: Iterable[str]
) -> str:
    """That nobody offers `name`, and what may be the reason."""
    wanted = canonicalize_name(name)
    names: dict[str, str] = {
        canonicalize_name(each): each for each in [*(each.name for each in records), *others]
    }
    names.pop(wanted, None)
    said = [f"no installed plugin is named {use or name!r}"]
    said += [f"did you mean {names[each]!r}?" for each in get_close_matches(wanted, names, 1)]
    said += [f"{each.distribution}: {each.problem}" for each in records if not each.name]
    if wanted in RESERVED and not use:
        said.append(f"it comes in the distribution {RESERVED[wanted]}")
    return "; ".join(said)


def load(record: InstalledPlugin) -> Any:
    """Import what `record` points to.

    Raises:
        Exception: whatever importing it raises.
    """
    return EntryPoint(record.name, record.target, GROUP).load()


def installed_version(distribution: str) -> str | None:
    """The version on disk now, or `None` if it is gone."""
    try:
        return version(distribution)
    except Exception:
        return None
