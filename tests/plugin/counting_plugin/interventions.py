"""An edit, a mask and a when-gate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reasonmech.interventions import Edit, Gate, Where, edits, gates, masks
from reasonmech.interventions.axes import Axis
from reasonmech.interventions.edits import Place, Values
from reasonmech.shapes import Mask
from reasonmech.step import Step


@edits.register("flip")
@dataclass(frozen=True, eq=False)
class Flip(Edit):
    """c <- -c."""

    kind = "flip"

    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        return -coords

    def check(self, axis: Axis) -> None:
        """Any axis will do."""

    def to_json(self) -> dict[str, object]:
        return {"kind": self.kind}


@masks.register("even")
@dataclass(frozen=True)
class Even(Where):
    """Every second token."""

    kind = "even"

    def mask(self, step: Step) -> Mask:
        return step.positions % 2 == 0


@gates.register("half")
@dataclass(frozen=True)
class Half(Gate):
    """Half open, always."""

    kind = "half"

    @property
    def reads(self) -> None:
        return None

    def weight(self, coords: Tensor) -> Tensor:
        return torch.full((len(coords),), 0.5)

    def on(self, axis: Axis) -> Half:
        return self

    def to_json(self) -> dict[str, object]:
        return {"kind": self.kind}
