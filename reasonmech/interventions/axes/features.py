"""Features: several features of a sparse coder, read together and written jointly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.coders.coder import SparseCoder, reconstruct
from reasonmech.errors import BindError, MismatchError
from reasonmech.interventions.axes.axis import Axis, axes
from reasonmech.interventions.canonical import Json
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host


@axes.register("features")
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
