"""Edits: what becomes of the coordinates. Each is one small class over any axis."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.errors import BindError, DataError
from reasonmech.interventions.axes import Axis
from reasonmech.interventions.canonical import Amount, Json, amount_json, check_finite
from reasonmech.registry import Registry
from reasonmech.shapes import Mask
from reasonmech.step import Step

Values = Float[Tensor, "token coord"]

edits: Registry[type[Edit]] = Registry("edit")


@final
@dataclass(frozen=True, eq=False)
class Place:
    """Which tokens of a pass an edit is given, in the order of its rows."""

    step: Step
    mask: Mask  # [batch, new]

    @cached_property
    def positions(self) -> Int[Tensor, " token"]:
        """Absolute, pad-free position of every edited token (CPU)."""
        return self.step.positions[:, -self.step.new :][self.mask]

    @cached_property
    def rows(self) -> Int[Tensor, " token"]:
        """Number in the whole run of every edited token's row (CPU)."""
        return self.step.rows[:, None].expand(self.mask.shape)[self.mask]


class Edit(ABC):
    """edit(c): new coordinates from old ones, differentiable, never in place."""

    kind: ClassVar[str]
    reads: ClassVar[bool] = True  # False where the difference does not depend on the coordinates

    @abstractmethod
    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        """The edited coordinates."""

    def delta(self, coords: Values, axis: Axis, place: Place) -> Values:
        """edit(c) - c, in the form that rounds least."""
        return self.new(coords, axis, place) - coords

    @abstractmethod
    def check(self, axis: Axis) -> None:
        """Raise BindError unless the edit makes sense on this axis."""

    def streams(self, axis: Axis) -> Mapping[str, Float[Tensor, "... width"]]:
        """Tensors as wide as the axis' site that it holds, by what an error calls them."""
        return {}

    @abstractmethod
    def to_json(self) -> dict[str, Json]:
        """Canonical form, tensors by content."""


def _stream(what: str, amount: Amount | None, axis: Axis) -> dict[str, Tensor]:
    """An amount, where it is a vector on the whole stream."""
    return {what: amount} if axis.replaces and isinstance(amount, Tensor) and amount.dim() else {}


def check_amount(what: str, amount: Amount, axis: Axis) -> None:
    """A number, or one number per coordinate; for the whole stream a vector. Raises BindError."""
    check_finite(what, amount)
    if not isinstance(amount, Tensor) or amount.dim() == 0:
        return
    if amount.dim() != 1 or axis.n_coords not in (None, len(amount)):
        width = "d_model" if axis.n_coords is None else axis.n_coords
        raise BindError(f"{what} has shape {tuple(amount.shape)}", allowed=f"a number, or [{width}]")


def _like(amount: Amount, coords: Values) -> Amount:
    return amount.to(coords) if isinstance(amount, Tensor) else amount


@final
@dataclass(frozen=True, eq=False)
class Ablate(Edit):
    """c <- 0, or a given value (a mean, in the axis' own units)."""

    value: Amount | None = None
    kind = "ablate"

    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        return (
            torch.zeros_like(coords)
            if self.value is None
            else torch.zeros_like(coords) + _like(self.value, coords)
        )

    def check(self, axis: Axis) -> None:
        if self.value is not None:
            check_amount("the value of ablate", self.value, axis)

    def streams(self, axis: Axis) -> Mapping[str, Tensor]:
        return _stream("the value of ablate", self.value, axis)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "value": None if self.value is None else amount_json(self.value)}


@final
@dataclass(frozen=True, eq=False)
class Clamp(Edit):
    """c <- v: a fixed decoded contribution (Features), or a fixed coordinate (Direction)."""

    value: Amount
    kind = "clamp"

    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        return torch.zeros_like(coords) + _like(self.value, coords)

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


@final
@dataclass(frozen=True, eq=False)
class Scale(Edit):
    """c <- a * c."""

    factor: Amount
    kind = "scale"

    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        return coords * _like(self.factor, coords)

    def delta(self, coords: Values, axis: Axis, place: Place) -> Values:
        return coords * (_like(self.factor, coords) - 1)

    def check(self, axis: Axis) -> None:
        if axis.replaces:
            raise BindError("scale has no meaning on the whole stream", allowed="Features, Direction")
        check_amount("the factor of scale", self.factor, axis)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "factor": amount_json(self.factor)}


@final
@dataclass(frozen=True, eq=False)
class Steer(Edit):
    """c <- c + a: activation units of a feature, residual-norm units along a direction, a vector on the
    stream."""

    amount: Amount
    kind = "steer"
    reads = False

    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        return coords + _like(self.amount, coords)

    def delta(self, coords: Values, axis: Axis, place: Place) -> Values:
        return torch.zeros_like(coords) + _like(self.amount, coords)

    def check(self, axis: Axis) -> None:
        if axis.replaces and not (isinstance(self.amount, Tensor) and self.amount.dim() == 1):
            raise BindError(
                f"steer(Whole(...)) was given {self.amount!r}",
                allowed="a vector [d_model]",
                do="steer(Direction(...), amount) adds a number along a direction",
            )
        check_amount("the amount of steer", self.amount, axis)

    def streams(self, axis: Axis) -> Mapping[str, Tensor]:
        return _stream("the amount of steer", self.amount, axis)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "amount": amount_json(self.amount)}


@final
@dataclass(frozen=True, eq=False)
class Patch(Edit):
    """c <- c(source): feature, subspace or activation patching.

    Attributes:
        source: the stream of the source run at the axis' own site: [d_model] for every token, [pos, d_model]
            by absolute, pad-free position, or [row, pos, d_model] by row of the run and position.
    """

    source: Tensor
    kind = "patch"

    def new(self, coords: Values, axis: Axis, place: Place) -> Values:
        return axis.read(self._stream(place).to(coords)).expand_as(coords)

    def _stream(self, place: Place) -> Float[Tensor, "token d_model"]:
        if self.source.dim() == 1:
            return self.source[None]
        positions = place.positions
        if len(positions) and int(positions.max()) >= self.source.shape[-2]:
            raise DataError(
                f"patch at position {int(positions.max())} of a source with {self.source.shape[-2]} "
                "positions",
                do="mask the positions that the source does not have, or give a longer source",
            )
        if self.source.dim() == 2:
            return self.source[positions.to(self.source.device)]
        if len(place.rows) and int(place.rows.max()) >= len(self.source):
            raise DataError(
                f"patch of row {int(place.rows.max())} from a source with {len(self.source)} rows"
            )
        return self.source[place.rows.to(self.source.device), positions.to(self.source.device)]

    @cached_property
    def _finite(self) -> bool:
        """Looked at once, however many interventions share the edit."""
        check_finite("the source of patch", self.source)
        return True

    def check(self, axis: Axis) -> None:
        assert self._finite, "check_finite raises"
        if self.source.dim() not in (1, 2, 3):
            raise BindError(
                f"the source of patch has shape {tuple(self.source.shape)}",
                allowed="[d_model], [pos, d_model] or [row, pos, d_model]",
            )

    def streams(self, axis: Axis) -> Mapping[str, Tensor]:
        return {"the source of patch": self.source}

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "source": amount_json(self.source)}


for _edit in (Ablate, Clamp, Scale, Steer, Patch):
    edits.register(_edit.kind)(_edit)
