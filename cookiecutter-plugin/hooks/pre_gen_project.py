"""Refuses what would not become a plugin, with the reason."""

import builtins
import importlib.metadata
import importlib.util
import json
import keyword
import re
import sys
from collections.abc import Iterator

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
WORDS = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
FORM = "lower-case letters and digits, words joined by hyphens, a letter first"
LONGEST = {"name": 24, "distribution": 40, "description": 88, "author": 60}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def problems() -> Iterator[str]:
    """What is wrong, a sentence each."""
    name, prefix = ANSWERS["name"], ANSWERS["prefix"]
    if not WORDS.fullmatch(name):
        yield f"the name {name!r} has to be {FORM}"
    if not WORDS.fullmatch(prefix):
        yield f"the prefix {prefix!r} has to be {FORM}"
    if len(name) > LONGEST["name"]:
        yield f"the name has {len(name)} characters, and {LONGEST['name']} at most will do"
    distribution = ANSWERS["__distribution"]
    if len(distribution) > LONGEST["distribution"]:
        yield f"{distribution} is longer than {LONGEST['distribution']} characters"
    if f"{distribution}-".startswith("flext-plugins-"):
        yield f"{distribution}: flext-plugins-* is ours; take a prefix of your own, as acme-flext"
    yield from wrong_texts()
    yield from taken()


def wrong_texts() -> Iterator[str]:
    for key in ("description", "author"):
        text = ANSWERS[key]
        if not text.strip():
            yield f"the {key} is empty"
        if len(text) > LONGEST[key]:
            yield f"the {key} has {len(text)} characters, and {LONGEST[key]} at most will do"
        if not text.isprintable() or set(text) & set('"\\'):
            yield f"the {key} has to be one line without quotation marks or backslashes"


def taken() -> Iterator[str]:
    """Names that somebody has already."""
    name, distribution = ANSWERS["name"], ANSWERS["__distribution"]
    class_, package = ANSWERS["__class"], ANSWERS["__package"]
    if name in ANSWERS["_reserved"]:
        yield f"the name {name!r} belongs to flext-plugins-{name}"
    if class_ in ANSWERS["_used"] or hasattr(builtins, class_) or keyword.iskeyword(class_):
        yield f"the name {name!r} makes the class {class_}, which means something else in the code"
    if class_.startswith("Test"):
        yield f"the name {name!r} makes the class {class_}, which pytest would take for tests"
    installed = [*offers()]
    for owner, offered in installed:
        if normal(owner) == distribution:
            yield f"{distribution} is installed already"
        elif name in offered and name not in ANSWERS["_reserved"]:
            yield f"{owner}, which is installed, has a plugin {name!r}"
    if all(normal(owner) != distribution for owner, _ in installed) and is_importable(package):
        yield f"a package {package} is installed already"


def offers() -> Iterator[tuple[str, set[str]]]:
    """Each installed distribution, with the names of its plugins."""
    for each in importlib.metadata.distributions():
        try:
            points = [point for point in each.entry_points if point.group == "flext_plugins"]
            yield each.metadata["Name"], {normal(point.name) for point in points}
        except Exception:  # noqa: S112 - one that is corrupt has no names
            continue


def is_importable(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


if found := [*problems()]:
    sys.exit("\n".join(found))
