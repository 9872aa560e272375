"""Gates that open where a coordinate is above, below or between thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import final

from jaxtyping import Float
from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.errors import BindError
from reasonmech.interventions.axes.axis import Axis
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.checks import check_number
from reasonmech.interventions.gates.gate import Gate, Role, gates
from reasonmech.interventions.reading.entry import Entry


@dataclass(frozen=True, eq=False, repr=False)
class ThresholdGate(Gate):
    """A gate that compares the largest coordinate of an axis with numbers.

    Attributes:
        axis: what it reads.
        role: the model of a pair in whose stream it reads; None for the host that is edited.

    Raises:
        ArgumentError: no axis, or a threshold that is no number.
        BindError: the whole stream as an axis, an unknown role, or a threshold that is not finite.
    """

    axis: Axis
    role: Role | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_type(
            self.axis,
            Axis,
            name=f"axis of {self.kind}()",
            allowed="an axis: Direction, Features, Subspace",
            do=f'rm.{self.kind}(rm.Direction.along(vector, "resid_post.2"), ...)',
        )
        if self.axis.replaces:
            raise BindError(
                "a gate on the whole stream", allowed="Features, Direction", do="gate on a direction of it"
            )
        if self.role not in (None, "base", "thinking"):
            raise BindError(
                f"a gate with role={self.role!r}", allowed='"base", "thinking", or None for the host itself'
            )
        for name, threshold in self._thresholds().items():
            check_number(threshold, name=f"{name} of {self.kind}()")

    @property
    def reads(self) -> Axis:
        return self.axis

    def on(self, axis: Axis) -> Gate:
        return replace(self, axis=axis)

    def to_json(self) -> dict[str, Json]:
        numbers = {name: float(threshold) for name, threshold in self._thresholds().items()}
        # a gate on the host itself is written as it was before there were others: fingerprints stay
        role = {} if self.role is None else {"role": self.role}
        return {"kind": self.kind, "axis": self.axis.to_json(), **numbers, **role}

    @classmethod
    def from_entry(cls, entry: Entry) -> ThresholdGate:
        """`{kind: above, axis: {...}, threshold: 0.5}`, with `role: thinking` where it reads the partner."""
        return super().from_entry(entry if entry.settings.get("role") is None else entry.beside())

    def _thresholds(self) -> dict[str, float]:
        return {one.name: self.__dict__[one.name] for one in fields(self) if one.name not in ("axis", "role")}


@gates.register("above")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Above(ThresholdGate):
    """Open where any coordinate exceeds the threshold: max(c) > t."""

    threshold: float
    kind = "above"

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return (coords.amax(-1) > self.threshold).to(coords.dtype)


@gates.register("below")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Below(ThresholdGate):
    """Open where every coordinate is under the threshold: max(c) < t."""

    threshold: float
    kind = "below"

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return (coords.amax(-1) < self.threshold).to(coords.dtype)


@gates.register("ramp")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Ramp(ThresholdGate):
    """Opens linearly: clip((max(c) - lo) / (hi - lo), 0, 1)."""

    lo: float
    hi: float
    kind = "ramp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lo < self.hi:
            raise BindError(f"ramp from {self.lo} to {self.hi}", allowed="lo < hi")

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return ((coords.amax(-1) - self.lo) / (self.hi - self.lo)).clamp(0, 1)


def above(axis: Axis, threshold: float, *, role: Role | None = None) -> Gate:
    """Open where a coordinate exceeds the threshold (several features: any of them).

    Args:
        role: read the axis in the other host of the run, which is the pair's base or thinking model
            (`HostDecoder.of(..., partner=)`), at the same tokens; any of its sites will do. None: in the host
            itself.

    Raises:
        As `ThresholdGate` does.
    """
    return Above(axis, threshold, role=role)


def below(axis: Axis, threshold: float, *, role: Role | None = None) -> Gate:
    """Open where all coordinates are under the threshold; `role` as in `above`."""
    return Below(axis, threshold, role=role)


def ramp(axis: Axis, lo: float, hi: float, *, role: Role | None = None) -> Gate:
    """Closed up to `lo`, fully open from `hi`, linear between; `role` as in `above`."""
    return Ramp(axis, lo, hi, role=role)
