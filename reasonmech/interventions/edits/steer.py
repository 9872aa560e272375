"""Steer: something is added to the coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from reasonmech.arguments import describe
from reasonmech.errors import BindError
from reasonmech.interventions.axes.axis import Axis
from reasonmech.interventions.canonical import Amount, Json, amount_json
from reasonmech.interventions.edits.edit import (
    Edit,
    Place,
    Values,
    amount_like,
    check_amount,
    edits,
    streams_of,
)


@edits.register("steer")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Steer(Edit):
    """c <- c + a: activation units (features), residual-norm units (a direction), a vector (a stream)."""

    amount: Amount
    kind = "steer"
    reads = False

    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        return coords + amount_like(self.amount, coords)

    def delta(self, coords: Values, axis: Axis, place: Place) -> Values:
        return torch.zeros_like(coords) + amount_like(self.amount, coords)

    def check(self, axis: Axis) -> None:
        check_amount("the amount of steer", self.amount, axis)
        if axis.replaces and not (isinstance(self.amount, Tensor) and self.amount.dim() == 1):
            raise BindError(
                f"steer(Whole(...)) was given {describe(self.amount)}",
                allowed="a vector [d_model]",
                do="steer(Direction(...), amount) adds a number along a direction",
            )

    def streams(self, axis: Axis) -> Mapping[str, Tensor]:
        return streams_of("the amount of steer", self.amount, axis)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "amount": amount_json(self.amount)}
