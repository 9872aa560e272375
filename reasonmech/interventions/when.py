"""When: gates, weights in [0, 1] per token that are read from activations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Final, final

from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import BindError
from reasonmech.interventions.axes import Axis
from reasonmech.interventions.canonical import Json
from reasonmech.registry import Registry

gates: Registry[type[Gate]] = Registry("gate")


class Gate(ABC):
    """A weight per token from the coordinates of an axis, read before any edit of the plan at that site."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def reads(self) -> Axis | None:
        """The axis it reads; None when it needs none."""

    @abstractmethod
    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        """How far the gate is open for every token; a gate that reads no axis is given coordinates [token, 0]."""

    @abstractmethod
    def on(self, axis: Axis) -> Gate:
        """The same gate reading another copy of its axis (moved to a device)."""

    @abstractmethod
    def to_json(self) -> dict[str, Json]:
        """Canonical form."""


def _check_axis(axis: Axis) -> None:
    if axis.replaces:
        raise BindError("a gate on the whole stream", allowed="Features, Direction", do="gate on a direction of it")


@final
@dataclass(frozen=True)
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


@final
@dataclass(frozen=True, eq=False)
class Above(Gate):
    """Open where any coordinate exceeds the threshold: max(c) > t."""

    axis: Axis
    threshold: float
    kind = "above"

    def __post_init__(self) -> None:
        _check_axis(self.axis)

    @property
    def reads(self) -> Axis:
        return self.axis

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return (coords.amax(-1) > self.threshold).to(coords.dtype)

    def on(self, axis: Axis) -> Gate:
        return replace(self, axis=axis)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "axis": self.axis.to_json(), "threshold": float(self.threshold)}


@final
@dataclass(frozen=True, eq=False)
class Below(Gate):
    """Open where every coordinate is under the threshold: max(c) < t."""

    axis: Axis
    threshold: float
    kind = "below"

    def __post_init__(self) -> None:
        _check_axis(self.axis)

    @property
    def reads(self) -> Axis:
        return self.axis

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return (coords.amax(-1) < self.threshold).to(coords.dtype)

    def on(self, axis: Axis) -> Gate:
        return replace(self, axis=axis)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "axis": self.axis.to_json(), "threshold": float(self.threshold)}


@final
@dataclass(frozen=True, eq=False)
class Ramp(Gate):
    """Opens linearly: clip((max(c) - lo) / (hi - lo), 0, 1)."""

    axis: Axis
    lo: float
    hi: float
    kind = "ramp"

    def __post_init__(self) -> None:
        _check_axis(self.axis)
        if not self.lo < self.hi:
            raise BindError(f"ramp from {self.lo} to {self.hi}", allowed="lo < hi")

    @property
    def reads(self) -> Axis:
        return self.axis

    def weight(self, coords: Float[Tensor, "token coord"]) -> Float[Tensor, " token"]:
        return ((coords.amax(-1) - self.lo) / (self.hi - self.lo)).clamp(0, 1)

    def on(self, axis: Axis) -> Gate:
        return replace(self, axis=axis)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "axis": self.axis.to_json(), "lo": float(self.lo), "hi": float(self.hi)}


ALWAYS: Final = Always()


def always() -> Gate:
    """Open for every token that the mask names."""
    return ALWAYS


def above(axis: Axis, threshold: float) -> Gate:
    """Open where a coordinate exceeds the threshold (several features: any of them)."""
    return Above(axis, threshold)


def below(axis: Axis, threshold: float) -> Gate:
    """Open where all coordinates are under the threshold."""
    return Below(axis, threshold)


def ramp(axis: Axis, lo: float, hi: float) -> Gate:
    """Closed up to `lo`, fully open from `hi`, linear between."""
    return Ramp(axis, lo, hi)


for _gate in (Always, Above, Below, Ramp):
    gates.register(_gate.kind)(_gate)
