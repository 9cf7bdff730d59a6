"""What came out of composing a service, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .discovery import installed_version
from .redaction import MASK, SECRET_NAME, redact_url
from .settings import Address, Place, Secret, leaves, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .chain import Layer
    from .composition import Composition


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that is in force."""

    name: str
    value: str
    """As it may be shown: secrets are masked, references are not resolved."""
    origin: str
    """A file, a variable, `default`, or `code`."""


@dataclass(frozen=True, slots=True)
class ExplainedLayer:
    """One plugin in its place."""

    stage: str
    plugin: str
    distribution: str | None
    version: str | None
    observer: bool
    hooks: tuple[str, ...]
    settings: tuple[Setting, ...]
    note: str
    """What to know about it, such as that another version has been installed since."""

    @property
    def source(self) -> str:
        """The distribution and version, or where else it came from."""
        return f"{self.distribution} {self.version}" if self.distribution else "registered in code"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One service's onion, outermost first; `str()` draws it."""

    service: str
    base_url: str
    settings: tuple[Setting, ...]
    layers: tuple[ExplainedLayer, ...]

    def __str__(self) -> str:
        lines = [f"{self.service}  {self.base_url}".rstrip()]
        lines += [f"  {each.name} = {each.value}  ({each.origin})" for each in self.settings]
        for depth, layer in enumerate(self.layers):
            indent = "  " * depth
            observer = ", observer" if layer.observer else ""
            lines.append(
                f"{indent}└─ {layer.stage}  {layer.plugin}  [{layer.source}{observer}]  "
                f"{', '.join(layer.hooks)}"
            )
            lines += [f"{indent}     {s.name} = {s.value}  ({s.origin})" for s in layer.settings]
            lines += [f"{indent}     ! {layer.note}"] if layer.note else []
        return "\n".join([*lines, f"{'  ' * len(self.layers)}└─ wire"])


def explain(composition: Composition) -> Explanation:
    """`composition`, as it may be shown."""
    service = composition.service
    place = ("services", service.name)
    shown = {(*("headers", name),): value for name, value in service.headers.items()} | {
        (key,): getattr(service, key)
        for key in ("deadline", "verify", "cert", "http2", "proxy", "max_connections")
        if getattr(service, key) is not None
    }
    shown |= {("timeout", key): value for key, value in service.timeout._asdict().items()}
    settings = tuple(
        Setting(".".join(key), _shown(key, value), _origin(composition.origins, place, key))
        for key, value in shown.items()
    )
    layers = tuple(_layer(each) for each in composition.layers)
    return Explanation(service.name, redact_url(service.base_url or ""), settings, layers)


def _origin(origins: Mapping[Place, str], place: Place, key: Place) -> str:
    if not origins:
        return "code"
    for under in (place, ("defaults",)):
        for length in range(len(key), 0, -1):
            if (found := origins.get((*under, *key[:length]))) is not None:
                return found
    return "default"


def _layer(layer: Layer) -> ExplainedLayer:
    values = leaves(layer.settings) if layer.settings is not None else ()
    return ExplainedLayer(
        layer.stage.name,
        layer.name,
        layer.distribution,
        layer.version,
        layer.observer,
        tuple(layer.hooks),
        tuple(
            Setting(".".join(key), _shown(key, value), origin_of(key, layer.origins) or "code")
            if _is_said(key, layer)
            else Setting(".".join(key), _shown(key, value), "default")
            for key, value in values
        ),
        _note(layer),
    )


def _is_said(key: Place, layer: Layer) -> bool:
    return any(key[:length] in layer.origins for length in range(1, len(key) + 1))


def _note(layer: Layer) -> str:
    if layer.distribution is None:
        return ""
    now = installed_version(layer.distribution)
    if now == layer.version:
        return ""
    what = f"{now} is installed" if now else "it is uninstalled"
    return f"{layer.version} is loaded, {what}: restart to use what is installed"


def _shown(key: Place, value: Any) -> str:
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, Secret):
        return value.reference or MASK
    if key and SECRET_NAME.search(key[-1]) and value is not None:
        return MASK
    return redact_url(str(value))
