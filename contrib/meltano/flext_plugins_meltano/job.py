"""Jobs: tap and target, blocks of Meltano's, models of dbt's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Singer:
    """A tap into a target, and a transformation after it."""

    kind: ClassVar[str] = "execute"
    program: ClassVar[str] = "meltano"
    tap: str
    target: str
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The tap's settings, in place of those of its project; they may be secret."""
    catalog: Mapping[str, Any] | None = field(default=None, repr=False)
    state: Mapping[str, Any] | None = field(default=None, repr=False)
    transform: str | None = None

    @property
    def name(self) -> str:
        """Its name for people."""
        return " ".join(filter(None, (self.tap, self.target, self.transform)))


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks for `meltano run`: plugins, commands and jobs, one after the other."""

    kind: ClassVar[str] = "meltano"
    program: ClassVar[str] = "meltano"
    blocks: tuple[str, ...]
    environment: str | None = None
    full_refresh: bool = False

    @property
    def name(self) -> str:
        """Its name for people."""
        return " ".join(self.blocks)


@dataclass(frozen=True, slots=True)
class Dbt:
    """Models for `dbt build`, which builds and tests them."""

    kind: ClassVar[str] = "dbt"
    program: ClassVar[str] = "dbt"
    models: tuple[str, ...] = ()
    project: str | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    target: str = "dev"

    @property
    def name(self) -> str:
        """Its name for people."""
        return " ".join(self.models) or "all models"


Job: TypeAlias = Singer | Blocks | Dbt


def texts(values: str | Sequence[str]) -> tuple[str, ...]:
    """One text or several, as several."""
    return (values,) if isinstance(values, str) else tuple(values)
