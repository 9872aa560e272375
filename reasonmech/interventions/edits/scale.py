"""Scale: coordinates are multiplied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from reasonmech.errors import BindError
from reasonmech.interventions.axes.axis import Axis
from reasonmech.interventions.canonical import Amount, Json, amount_json
from reasonmech.interventions.edits.edit import Edit, Place, Values, amount_like, check_amount, edits


@edits.register("scale")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Scale(Edit):
    """c <- a * c."""

    factor: Amount
    kind = "scale"

    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        return coords * amount_like(self.factor, coords)

    def delta(self, coords: Values, axis: Axis, place: Place) -> Values:
        return coords * (amount_like(self.factor, coords) - 1)

    def check(self, axis: Axis) -> None:
        if axis.replaces:
            raise BindError("scale has no meaning on the whole stream", allowed="Features, Direction")
        check_amount("the factor of scale", self.factor, axis)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "factor": amount_json(self.factor)}
