"""Gates that open where a coordinate is above, below or between thresholds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import BindError
from reasonmech.interventions.axes.axis import Axis
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.gates.gate import Gate, Role, gates


def _check(axis: Axis, role: Role | None) -> None:
    if axis.replaces:
        raise BindError(
            "a gate on the whole stream", allowed="Features, Direction", do="gate on a direction of it"
        )
    if role not in (None, "base", "thinking"):
        raise BindError(
            f"a gate with role={role!r}", allowed='"base", "thinking", or None for the host itself'
        )


def _read_from(role: Role | None) -> dict[str, Json]:
    """A gate on the host itself is called what it was called before there were others."""
    return {} if role is None else {"role": role}


@gates.register("above")
@final
@dataclass(frozen=True, eq=False)
class Above(Gate):
    """Open where any coordinate exceeds the threshold: max(c) > t."""

    axis: Axis
    threshold: float
    of: Role | None = None
    kind = "above"

    def __post_init__(self) -> None:
        _check(self.axis, self.of)

    @property
    def reads(self) -> Axis:
        return self.axis

    @property
    def role(self) -> Role | None:
        return self.of

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return (coords.amax(-1) > self.threshold).to(coords.dtype)

    def on(self, axis: Axis) -> Gate:
        return replace(self, axis=axis)

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": self.kind,
            "axis": self.axis.to_json(),
            "threshold": float(self.threshold),
        } | _read_from(self.of)


@gates.register("below")
@final
@dataclass(frozen=True, eq=False)
class Below(Gate):
    """Open where every coordinate is under the threshold: max(c) < t."""

    axis: Axis
    threshold: float
    of: Role | None = None
    kind = "below"

    def __post_init__(self) -> None:
        _check(self.axis, self.of)

    @property
    def reads(self) -> Axis:
        return self.axis

    @property
    def role(self) -> Role | None:
        return self.of

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return (coords.amax(-1) < self.threshold).to(coords.dtype)

    def on(self, axis: Axis) -> Gate:
        return replace(self, axis=axis)

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": self.kind,
            "axis": self.axis.to_json(),
            "threshold": float(self.threshold),
        } | _read_from(self.of)


@gates.register("ramp")
@final
@dataclass(frozen=True, eq=False)
class Ramp(Gate):
    """Opens linearly: clip((max(c) - lo) / (hi - lo), 0, 1)."""

    axis: Axis
    lo: float
    hi: float
    of: Role | None = None
    kind = "ramp"

    def __post_init__(self) -> None:
        _check(self.axis, self.of)
        if not self.lo < self.hi:
            raise BindError(f"ramp from {self.lo} to {self.hi}", allowed="lo < hi")

    @property
    def reads(self) -> Axis:
        return self.axis

    @property
    def role(self) -> Role | None:
        return self.of

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return ((coords.amax(-1) - self.lo) / (self.hi - self.lo)).clamp(0, 1)

    def on(self, axis: Axis) -> Gate:
        return replace(self, axis=axis)

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": self.kind,
            "axis": self.axis.to_json(),
            "lo": float(self.lo),
            "hi": float(self.hi),
        } | _read_from(self.of)


def above(axis: Axis, threshold: float, *, role: Role | None = None) -> Gate:
    """Open where a coordinate exceeds the threshold (several features: any of them).

    Args:
        role: read the axis in the other host of the run, which is the pair's base or thinking model
            (`generate(..., partner=)`), at the same tokens; any of its sites will do. None: in the host
            itself.
    """
    return Above(axis, threshold, role)


def below(axis: Axis, threshold: float, *, role: Role | None = None) -> Gate:
    """Open where all coordinates are under the threshold; `role` as in `above`."""
    return Below(axis, threshold, role)


def ramp(axis: Axis, lo: float, hi: float, *, role: Role | None = None) -> Gate:
    """Closed up to `lo`, fully open from `hi`, linear between; `role` as in `above`."""
    return Ramp(axis, lo, hi, role)
