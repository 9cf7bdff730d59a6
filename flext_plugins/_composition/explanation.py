"""The outcome of composing a service, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flext_plugins._config.secrets import Address, Basic, Secret, is_there, leaves
from flext_plugins._discovery import installed_version
from flext_plugins.redaction import MASK, is_secret, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flext_plugins._chain.layer import Layer
    from flext_plugins._composition import Composition
    from flext_plugins._config.provenance import Place


SHOWN = (
    *("base_url", "timeout", "headers", "deadline", "verify", "cert", "http2", "transport"),
    *("proxy", "max_connections", "keepalive_expiry", "max_plugin_read"),
    *("allow_insecure", "health"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that is in force."""

    name: str
    value: str
    """As it may be shown: secrets are masked, references are not resolved."""
    source: str
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
    reason: str
    """Why it stands where it does: by stage, wishes and appearance, or by the service's order."""
    note: str
    """What to know about it, such as that another version has been installed since."""

    @property
    def source(self) -> str:
        """The distribution and version, or where else it came from."""
        if self.distribution:
            return f"{self.distribution} {self.version}"
        named = [each.source for each in self.settings if each.name == "class"]
        return f"named in {named[0]}" if named else "registered in code"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One service's onion, outermost first; `str()` draws it."""

    service: str
    base_url: str
    settings: tuple[Setting, ...]
    layers: tuple[ExplainedLayer, ...]
    transports: Mapping[str, str]
    """By client library, sync or async: the transport that its clients get."""

    def __str__(self) -> str:
        lines = [f"{self.service}  {self.base_url}".rstrip()]
        lines += [f"  {each.name} = {each.value}  ({each.source})" for each in self.settings]
        if {*self.transports.values()} != {"default"}:
            lines += [f"  transport of {client}: {it}" for client, it in self.transports.items()]
        for depth, layer in enumerate(self.layers):
            indent = "  " * depth
            observer = ", observer" if layer.observer else ""
            lines.append(
                f"{indent}└─ {layer.stage}  {layer.plugin}  [{layer.source}{observer}]  "
                f"{', '.join(layer.hooks)}"
            )
            lines.append(f"{indent}     placed by {layer.reason}")
            lines += [f"{indent}     {s.name} = {s.value}  ({s.source})" for s in layer.settings]
            lines += [f"{indent}     ! {layer.note}"] if layer.note else []
        return "\n".join([*lines, f"{'  ' * len(self.layers)}└─ wire"])


def explain(composition: Composition, transports: Mapping[str, str]) -> Explanation:
    """`composition`, as it may be shown, with the transports that its clients get."""
    service = composition.service
    values = {name: getattr(service, name) for name in SHOWN}
    values["timeout"] = service.timeout._asdict()
    settings = []
    for place, value in leaves(values):
        if value not in (None, {}):
            told = ("base_url",) if isinstance(value, Basic) else place
            settings.append(_setting(place, value, composition.where.source(told)))
    reasons = composition.reasons()
    layers = tuple(_layer(each, reasons.get(each.name, "")) for each in composition.layers)
    base_url = redact(service.base_url or "")
    return Explanation(service.name, base_url, tuple(settings), layers, transports)


def _layer(layer: Layer, reason: str) -> ExplainedLayer:
    values = list(leaves(layer.settings)) if layer.settings is not None else []
    if layer.target:
        values.insert(0, (("class",), layer.target))
    return ExplainedLayer(
        layer.stage.name,
        layer.name,
        layer.distribution,
        layer.version,
        layer.observer,
        tuple(layer.hooks),
        tuple(
            _setting(place, value, layer.source_of(place))
            for place, value in values
            if value is not None or layer.source_of(place) != "default"
        ),
        reason,
        _note(layer),
    )


def _note(layer: Layer) -> str:
    if layer.distribution is None:
        return ""
    now = installed_version(layer.distribution)
    if now == layer.version:
        return ""
    what = f"{now} is installed" if now else "it is uninstalled"
    return f"{layer.version} is loaded, {what}: restart to use what is installed"


def _setting(place: Place, value: Any, source: str) -> Setting:
    if isinstance(value, Secret):
        shown = str(value) if isinstance(value, Address) else value.reference or MASK
        shown += "" if is_there(value) else " (not set)"
    elif value is not None and any(is_secret(part) for part in place):
        shown = MASK
    else:
        shown = redact(str(value))
    return Setting(".".join(place), shown, source)
