"""The problems of settings, each told with its place and without its value."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails, core_schema

from flext_plugins._config.provenance import Place, Where
from flext_plugins._config.secrets import Secret, leaves
from flext_plugins._errors import ConfigError, account_of, package_of, place_of
from flext_plugins._masking import without
from flext_plugins.redaction import is_secret, redact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from flext_plugins._config.provenance import Place, Where


MOST, NEAR = 1000, 10
"""More names than these are many; so many before and after are compared then."""
SHOWN = 20


def listed(names: Collection[str]) -> str:
    """`a, b, c`: all of the names, or some of them and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(islice(names, SHOWN)) + more


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing; of many names only those are compared that sort near."""
    every = list(names)
    if len(every) > MOST:
        every.sort()
        place = bisect(every, name)
        every = every[max(place - NEAR, 0) : place + NEAR]
    near = get_close_matches(name, every, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def problems_of(
    error: ValidationError | None, model: type[BaseModel], raw: Any, where: Where
) -> list[str]:
    """The problems that a validation found, and the keys that nobody takes, without any value."""
    found = {place: [what] for place, what in _unknown(model, raw, ())}
    for each in error.errors(include_url=False, include_input=False) if error else ():
        place = _place(each["loc"], raw, absent=each["type"] == "missing")
        said = found.setdefault(place, [])
        if each["type"] != "extra_forbidden":
            said.append(_message(each, model, raw))
        elif not said:
            said.append("unknown key")
    return [where.problem(place, _either(dict.fromkeys(said))) for place, said in found.items()]


def _either(messages: Iterable[str]) -> str:
    first, *others = messages
    if first.startswith("expected "):
        others = [each.removeprefix("expected ") for each in others]
    return " or ".join([first, *others])


def _place(location: tuple[int | str, ...], raw: Any, *, absent: bool) -> Place:
    """The keys among what pydantic gives, which also names members of unions."""
    place: list[str] = []
    for index, key in enumerate(location, 1):
        inside = dict(enumerate(raw)) if isinstance(raw, (list, tuple)) else raw
        known = isinstance(inside, Mapping) and key in inside
        if not known and not (absent and index == len(location)):
            continue
        raw = inside[key] if known else None
        place.append(str(key))
    return tuple(place)


def _message(error: ErrorDetails, model: type[BaseModel], raw: Any) -> str:
    """Pydantic's message; in what a plugin's own validator wrote, what is configured is masked."""
    kind, message = error["type"], error["msg"]
    if kind == "missing":
        return "is required"
    if kind in {"dict_type", "model_type"}:
        return "expected a table, which is {} if it says nothing"
    if kind in {"value_error", "assertion_error", "union_tag_invalid"}:
        message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return _without(message, raw)
    if kind not in get_args(core_schema.ErrorType):  # a `PydanticCustomError`: worded with care
        fields = model.model_fields
        hidden = {
            key: value
            for key, value in raw.items()
            if key not in fields or is_secret(key) or may_hold_secrets(fields[key].annotation)
        }
        return _without(message, hidden)
    return message.replace("Input should be", "expected")


def may_hold_secrets(annotation: Any) -> bool:
    """Whether values of this type may be or hold secrets."""
    if args := get_args(annotation):
        return any(may_hold_secrets(each) for each in args)
    return isinstance(annotation, type) and issubclass(annotation, (SecretStr, BaseModel))


def _without(message: str, raw: Any) -> str:
    """`message` with all values in `raw`, and what they refer to, masked."""
    shown = set()
    for _, value in leaves(raw):
        secret = value if isinstance(value, Secret) else Secret(str(value))
        shown.add(secret.written())
        with suppress(ConfigError):
            shown.add(secret.get_secret_value())
    return without(message, shown)


def _unknown(kind: Any, raw: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """The keys in `raw` that `kind`, a model or a type with models in it, does not take."""
    if not raw:
        return
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from _unknown(args[0], raw, place)
    elif origin in {Union, UnionType}:
        found = [list(_unknown(each, raw, place)) for each in args if not _is_scalar(each)]
        yield from min(found, key=len, default=[])
    elif isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(raw, Mapping):
        fields = {each.alias or name: each.annotation for name, each in kind.model_fields.items()}
        for key, value in raw.items():
            if key in fields or key in kind.model_fields:
                yield from _unknown(fields.get(key), value, (*place, key))
            elif kind.model_config.get("extra") != "allow":
                yield (*place, str(key)), f"unknown key{nearest(str(key), fields)}"
    elif args and isinstance(raw, (Mapping, list, tuple)):
        pairs = raw.items() if isinstance(raw, Mapping) else enumerate(raw)
        for key, value in pairs:
            yield from _unknown(args[-1], value, (*place, str(key)))


def _is_scalar(kind: Any) -> bool:
    is_class = isinstance(kind, type) and kind is not Any
    return get_origin(kind) is Literal or (
        is_class and get_origin(kind) is None and not issubclass(kind, (BaseModel, Mapping))
    )


def report(problems: list[str]) -> ConfigError:
    """One error for all of a phase's problems."""
    if len(problems) == 1:
        return ConfigError(problems[0])
    lines = "".join(f"\n  - {each}" for each in problems)
    return ConfigError(f"{len(problems)} problems in the configuration:{lines}", problems)


def validated(model: type[BaseModel], table: dict[str, Any], where: Where) -> tuple[Any, list[str]]:
    """The settings, or of those what can be told to be a secret; and what is wrong with them."""
    try:
        return model.model_validate(table), problems_of(None, model, table, where)
    except ValidationError as error:
        told = problems_of(error, model, table, where)
    except (Exception, SystemExit) as error:
        place = place_of(error, [package_of(model.__module__)])
        account = account_of(error, place, lambda text: redact(_without(text, table)))
        told = [where.problem((), f"validating these settings raised {account}")]
    fields = model.model_fields
    texts = {key: each for key, each in table.items() if isinstance(each, str) and key in fields}
    return {
        key: Secret(value)
        for key, value in texts.items()
        if may_hold_secrets(annotation := fields[key].annotation)
        and (Secret(value).reference or str not in get_args(annotation))  # else it is as it stands
    }, told
