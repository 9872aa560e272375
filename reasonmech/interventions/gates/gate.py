"""When: gates, weights in [0, 1] per token that are read from activations."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, TypeAlias, final

from jaxtyping import Float
from torch import Tensor

from reasonmech.interventions.axes.axis import Axis
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.part import PlanPart
from reasonmech.registry import Registry

Role: TypeAlias = Literal["base", "thinking"]

gates: Registry[type[Gate]] = Registry("gate")


class Gate(PlanPart):
    """A weight per token from the coordinates of an axis, read before any edit of the plan at that site."""

    registry: ClassVar[Registry[type[Gate]]] = gates

    kind: ClassVar[str]

    @property
    @abstractmethod
    def reads(self) -> Axis | None:
        """The axis it reads; None when it needs none."""

    @property
    def role(self) -> Role | None:
        """Which model of a pair it reads in the *other* host of a run; None for the host that is edited."""
        return None

    @abstractmethod
    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        """How far the gate is open at every token; without an axis to read, coordinates are [token, 0]."""

    @abstractmethod
    def on(self, axis: Axis) -> Gate:
        """The same gate reading another copy of its axis (moved to a device)."""


@gates.register("always")
@final
@dataclass(frozen=True, repr=False)
class Always(Gate):
    """Open."""

    kind = "always"

    @property
    def reads(self) -> None:
        return None

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return coords.new_ones(len(coords))

    def on(self, axis: Axis) -> Gate:
        return self

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind}


ALWAYS: Final = Always()


def always() -> Gate:
    """Open for every token that the mask names."""
    return ALWAYS
