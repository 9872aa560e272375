"""Ablate: coordinates become 0, or a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

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


@edits.register("ablate")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Ablate(Edit):
    """c <- 0, or a value (a mean, in the axis' own units)."""

    value: Amount | None = None
    kind = "ablate"

    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        zero = torch.zeros_like(coords)
        return zero if self.value is None else zero + amount_like(self.value, coords)

    def check(self, axis: Axis) -> None:
        if self.value is not None:
            check_amount("the value of ablate", self.value, axis)

    def streams(self, axis: Axis) -> Mapping[str, Tensor]:
        return streams_of("the value of ablate", self.value, axis)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "value": None if self.value is None else amount_json(self.value)}
