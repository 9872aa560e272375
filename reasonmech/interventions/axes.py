"""Axes: what an intervention reads from the residual stream, and how a change of it is written back.

An axis is a pair (R, W): coordinates `c = R(x)` and the linear write of a difference, `x <- x + W(dc)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.coders.coder import SparseCoder, reconstruct
from reasonmech.errors import BindError, MismatchError
from reasonmech.interventions.canonical import Json, check_finite, tensor_json
from reasonmech.registry import Registry
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host

UNIT_TOLERANCE: Final = 1e-3  # a unit vector rounded to bfloat16 is off by up to 4e-3 / sqrt(d)

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


@final
@dataclass(frozen=True, eq=False)
class Features(Axis):
    """Features of a sparse coder, read together and written jointly: W(dc) = sum_i dc_i * decoder row i.

    Only differences are written, so the coder's reconstruction error stays in the stream. Decoder rows
    overlap and TopK coders select anew, so re-encoding after a clamp need not return the clamped value: the
    receipt prints it.

    Attributes:
        coder: whose features.
        indices: which of them.
        transfer: the coder may come from another model than the host (a base coder read in its thinking
            sibling).

    Raises:
        BindError: no index, a repeated one, or one that the coder does not have.
    """

    coder: SparseCoder
    indices: tuple[int, ...]
    transfer: bool = False

    def __post_init__(self) -> None:
        indices: Sequence[int] = [int(i) for i in self.indices]
        object.__setattr__(self, "indices", tuple(indices))
        if not indices or len(set(indices)) < len(indices):
            raise BindError(f"feature indices {tuple(indices)}", allowed="at least one, each once")
        if min(indices) < 0 or max(indices) >= self.coder.d_sae:
            raise BindError(
                f"coder {self.coder.name!r} has no feature {max(indices)}"
                if max(indices) >= self.coder.d_sae
                else f"feature index {min(indices)} is negative",
                allowed=f"0 .. {self.coder.d_sae - 1}",
            )

    @property
    def at(self) -> Site:
        return self.coder.site

    @property
    def n_coords(self) -> int:
        return len(self.indices)

    @cached_property
    def rows(self) -> Float[Tensor, "coord d_model"]:
        """Effective decoder rows."""
        return self.coder.rows(self.indices).detach()

    def read(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token coord"]:
        return self.coder.read(x.to(device=self.coder.device, dtype=self.coder.dtype), self.indices).to(x)

    def write(self, delta: Float[Tensor, "token coord"]) -> Float[Tensor, "token d_model"]:
        return delta @ self.rows.to(delta)

    def reconstruct(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """decode(encode(x)): what the stream becomes when the coder's error is dropped."""
        return reconstruct(self.coder, x)

    def check(self, host: Host) -> None:
        host.check_site(self.at)
        if self.coder.d_in != host.width(self.at):
            raise MismatchError(
                f"coder {self.coder.name!r} reads {self.coder.d_in} dimensions,"
                f" {self.at} of host {host.name!r} has {host.width(self.at)}",
                do="load the coder of this model",
            )
        recorded = self.coder.model_hash
        if not self.transfer and recorded is not None and recorded != host.weight_hash:
            raise MismatchError(
                f"coder {self.coder.name!r} was trained on weights {recorded[:12]}…,"
                f" host {host.name!r} has {host.weight_hash[:12]}…",
                allowed="the model it was trained on",
                do="load that model, or say Features(..., transfer=True) to read a sibling's stream on "
                "purpose",
            )

    def to(self, device: torch.device) -> Features:
        return self if self.coder.device == device else replace(self, coder=self.coder.to(device))

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": "features",
            "site": str(self.at),
            "coder": self.coder.weight_hash,
            "indices": list(self.indices),
        }


@final
@dataclass(frozen=True, eq=False)
class Direction(Axis):
    """A unit vector at a site: c = <x, v>, W(dc) = dc * v, in residual-norm units.

    Attributes:
        vector: [d_model], norm 1.
        site: where it was found; moving it elsewhere means making a new one.
        name: for people; no part of its identity.

    Raises:
        BindError: the vector is not a finite unit vector.
    """

    vector: Float[Tensor, " d_model"]
    site: Site
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "site", Site.parse(self.site))
        check_finite("the direction", self.vector)
        norm = float(self.vector.detach().float().norm())
        if self.vector.dim() != 1 or abs(norm - 1) > UNIT_TOLERANCE:
            raise BindError(
                f"a direction of shape {tuple(self.vector.shape)} and norm {norm:.4g}",
                allowed="one vector of norm 1, so that amounts are in residual-norm units",
                do="Direction.along(vector, site) normalises it; steer(Whole(site), vector) adds a raw "
                "vector",
            )

    @classmethod
    def along(cls, vector: Float[Tensor, " d_model"], site: Site | str, *, name: str = "") -> Direction:
        """The direction of a raw vector."""
        return cls(vector / vector.norm(), Site.parse(site), name)

    @property
    def at(self) -> Site:
        return self.site

    @property
    def n_coords(self) -> int:
        return 1

    def read(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token coord"]:
        return (x @ self.vector.to(x))[:, None]

    def write(self, delta: Float[Tensor, "token coord"]) -> Float[Tensor, "token d_model"]:
        return delta * self.vector.to(delta)

    def check(self, host: Host) -> None:
        host.check_site(self.site)
        if len(self.vector) != host.width(self.site):
            raise MismatchError(
                f"direction {self.name!r} has {len(self.vector)} dimensions,"
                f" {self.site} of host {host.name!r} has {host.width(self.site)}",
                do="use a direction found in this model",
            )

    def to(self, device: torch.device) -> Direction:
        return replace(self, vector=self.vector.to(device))

    def to_json(self) -> dict[str, Json]:
        return {"kind": "direction", "site": str(self.site), "vector": tensor_json(self.vector)}


@final
@dataclass(frozen=True)
class Whole(Axis):
    """The whole residual stream at a site: c = x, W(dc) = dc."""

    site: Site
    replaces = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "site", Site.parse(self.site))

    @property
    def at(self) -> Site:
        return self.site

    @property
    def n_coords(self) -> None:
        return None

    def read(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token coord"]:
        return x

    def write(self, delta: Float[Tensor, "token coord"]) -> Float[Tensor, "token d_model"]:
        return delta

    def check(self, host: Host) -> None:
        host.check_site(self.site)

    def to(self, device: torch.device) -> Whole:
        return self

    def to_json(self) -> dict[str, Json]:
        return {"kind": "whole", "site": str(self.site)}


for _kind, _axis in (("features", Features), ("direction", Direction), ("whole", Whole)):
    axes.register(_kind)(_axis)
