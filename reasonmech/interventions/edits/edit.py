"""Edits: what becomes of the coordinates. Each is one small class over any axis."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.errors import BindError
from reasonmech.interventions.axes.axis import Axis
from reasonmech.interventions.canonical import Amount
from reasonmech.interventions.checks import check_number_or_tensor
from reasonmech.interventions.part import PlanPart
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


class Edit(PlanPart):
    """edit(c): new coordinates from old ones, differentiable, never in place."""

    registry: ClassVar[Registry[type[Edit]]] = edits

    kind: ClassVar[str]
    # False where the difference does not depend on the coordinates, so that they need not be read
    reads: ClassVar[bool] = True

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


def streams_of(name: str, amount: Amount | None, axis: Axis) -> dict[str, Tensor]:
    """An amount, where it is a vector on the whole stream."""
    return {name: amount} if axis.replaces and isinstance(amount, Tensor) and amount.dim() else {}


def check_amount(name: str, amount: Amount, axis: Axis) -> None:
    """A number, or one number per coordinate; for the whole stream a vector.

    Raises:
        ArgumentError: neither a number nor a tensor. BindError: it is not finite, or of another shape.
    """
    check_number_or_tensor(amount, name=name)
    if not isinstance(amount, Tensor) or amount.dim() == 0:
        return
    if amount.dim() != 1 or axis.n_coords not in (None, len(amount)):
        width = "d_model" if axis.n_coords is None else axis.n_coords
        raise BindError(f"{name} has shape {tuple(amount.shape)}", allowed=f"a number, or [{width}]")


def amount_like(amount: Amount, coords: Values) -> Amount:
    """An amount on the device and in the dtype of the coordinates."""
    return amount.to(coords) if isinstance(amount, Tensor) else amount
