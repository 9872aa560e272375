"""Axes: what an intervention reads from the residual stream, and how a change of it is written back.

An axis is a pair (R, W): coordinates `c = R(x)` and the linear write of a difference, `x <- x + W(dc)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.interventions.canonical import Json
from reasonmech.registry import Registry
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host

axes: Registry[type[Axis]] = Registry("axis")


class Axis(ABC):
    """Coordinates of the residual stream at one site."""

    replaces = (
        False  # True where the coordinates are the stream itself, so that an edit may put them in its place
    )

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

    @abstractmethod
    def to_json(self) -> dict[str, Json]:
        """Canonical form, tensors by content."""
