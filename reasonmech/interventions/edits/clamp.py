"""Clamp: coordinates become a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from reasonmech.errors import BindError
from reasonmech.interventions.axes.axis import Axis
from reasonmech.interventions.canonical import Amount, Json, amount_json
from reasonmech.interventions.edits.edit import Edit, Place, Values, amount_like, check_amount, edits


@edits.register("clamp")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Clamp(Edit):
    """c <- v: a fixed decoded contribution (Features), or a fixed coordinate (Direction)."""

    value: Amount
    kind = "clamp"

    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        return torch.zeros_like(coords) + amount_like(self.value, coords)

    def check(self, axis: Axis) -> None:
        if axis.replaces:
            raise BindError(
                "clamp has no meaning on the whole stream",
                allowed="Features, Direction",
                do="ablate(Whole(site), value=vector) sets it to a vector",
            )
        check_amount("the value of clamp", self.value, axis)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "value": amount_json(self.value)}
