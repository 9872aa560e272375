"""Axes: what an intervention reads from the residual stream, and how a change of it is written back.

An axis is a pair (R, W): coordinates `c = R(x)` and the linear write of a difference, `x <- x + W(dc)`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.interventions.canonical import Json
from reasonmech.interventions.part import PlanPart
from reasonmech.interventions.reading.spot import Spot
from reasonmech.registry import Registry
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host

axes: Registry[type[Axis]] = Registry("axis")


class Axis(PlanPart):
    """Coordinates of the residual stream at one site."""

    registry: ClassVar[Registry[type[Axis]]] = axes

    # True where the coordinates are the stream itself, so that an edit may put them in its place
    replaces: ClassVar[bool] = False

    @property
    @abstractmethod
    def at(self) -> Site:
        """Where it reads and writes."""

    @property
    @abstractmethod
    def n_coords(self) -> int | None:
        """Coordinates per token; None for the whole stream, whatever its width."""

    @abstractmethod
    def read(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token coord"]:
        """R: the coordinates of every token."""

    @abstractmethod
    def write(self, delta: Float[Tensor, "token coord"]) -> Float[Tensor, "token d_model"]:
        """W: the change of the stream that a change of the coordinates makes; linear."""

    def reconstruct(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """The stream as the axis alone would have it; only a coder loses anything."""
        return x

    @abstractmethod
    def check(self, host: Host) -> None:
        """Raise MismatchError or UnknownNameError unless it fits this host."""

    @abstractmethod
    def to(self, device: torch.device) -> Axis:
        """The same axis with its tensors on a device."""

    @classmethod
    def from_plan(cls, value: Json, spot: Spot) -> Self:
        """The axis that stands at a spot of a plan file, checked against the host that it reads.

        Raises:
            ConfigError: as for every part; or the host has another width, other weights, or no such site.
        """
        axis = super().from_plan(value, spot)
        if spot.host is not None:
            with spot.located():
                axis.check(spot.host)
        return axis
