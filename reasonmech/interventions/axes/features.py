"""Features: several features of a sparse coder, read together and written jointly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol, Self, final, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.arguments import check_type, check_whole, describe, is_iterable
from reasonmech.coders.coder import SparseCoder, reconstruct
from reasonmech.digest import check_model, identity_of
from reasonmech.errors import ArgumentError, BindError, MismatchError
from reasonmech.interventions.axes.axis import Axis, axes
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.reading.entry import Entry
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host


SHOWN: Final = 4  # indices in a repr


@runtime_checkable
class _Dictionary(Protocol):
    """What tells a coder from what is none; a check of all that a coder has would hash its weights."""

    @property
    def site(self) -> Site: ...
    @property
    def d_sae(self) -> int: ...


@axes.register("features")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Features(Axis):
    """Features of a sparse coder, read together and written jointly: W(dc) = sum_i dc_i * decoder row i.

    Only differences are written, so the coder's reconstruction error stays in the stream. Decoder rows
    overlap and TopK coders select anew, so re-encoding after a clamp need not return the clamped value: the
    receipt prints it.

    Attributes:
        coder: whose features.
        indices: which of them; one index is one feature.
        transfer: the coder may come from another model than the host (a base coder read in its thinking
            sibling).

    Raises:
        ArgumentError: no coder, or indices that are no integers.
        BindError: no index, a repeated one, or one that the coder does not have.
    """

    coder: SparseCoder
    indices: tuple[int, ...]
    transfer: bool = False
    _held: Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_type(
            self.coder,
            _Dictionary,
            name="coder",
            allowed="a sparse coder",
            do='rm.Features(rm.load_coder("directory or release/id", host=host), (14, 53))',
        )
        check_type(self.transfer, bool, name="transfer", allowed="True or False")
        indices = _indices_of(self.indices)
        object.__setattr__(self, "indices", indices)
        if not indices or len(set(indices)) < len(indices):
            raise BindError(f"feature indices {indices}", allowed="at least one, each once")
        if min(indices) < 0 or max(indices) >= self.coder.d_sae:
            raise BindError(
                f"coder {self.coder.name!r} has no feature {max(indices)}"
                if max(indices) >= self.coder.d_sae
                else f"feature index {min(indices)} is negative",
                allowed=f"0 .. {self.coder.d_sae - 1}",
            )

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        """`{kind: features, coder: DIRECTORY, features: [14]}`, perhaps with `transfer: true`."""
        entry.only(("coder", "features", "transfer"))
        transfer = entry.read("transfer", bool, False)
        source, indices = entry.read("coder", str), entry.read("features", int | tuple[int, ...])
        with entry.spot.inside("coder").located():
            # a sibling's coder is held to no host: reading it in another model is what `transfer` asks for
            coder = entry.spot.context.coder(source, None if transfer else entry.spot.host)
        return cls(coder, indices, transfer)

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self.indices[:SHOWN]))
        more = f", ... {len(self.indices)} features" if len(self.indices) > SHOWN else ""
        return f"Features({self.coder.name!r}, {self.at}, [{shown}{more}])"

    @property
    def at(self) -> Site:
        return self.coder.site

    @property
    def n_coords(self) -> int:
        return len(self.indices)

    @property
    def rows(self) -> Float[Tensor, "coord d_model"]:
        """Effective decoder rows, as the coder has them now; those of a call in one that is bound to it."""
        return self.coder.rows(self.indices).detach() if self._held is None else self._held

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
        if not self.transfer:
            check_model(
                f"coder {self.coder.name!r} was trained on weights",
                identity_of(self.coder, self.coder.model_hash),
                identity_of(host, host.weight_hash),
                model=f"host {host.name!r}",
                do="load that model, or say Features(..., transfer=True) to read a sibling's stream on "
                "purpose",
            )

    def to(self, device: torch.device) -> Features:
        coder = self.coder if self.coder.device == device else self.coder.to(device)
        bound = replace(self, coder=coder)
        object.__setattr__(bound, "_held", bound.rows)  # gathered once for a call, not at every token
        return bound

    def to_json(self) -> dict[str, Json]:
        return {
            "kind": "features",
            "site": str(self.at),
            "coder": self.coder.weight_hash,
            "indices": list(self.indices),
        }


def _indices_of(indices: object) -> tuple[int, ...]:
    """Feature indices from one, a sequence, an array or a tensor of them."""
    allowed, do = "integers", "rm.Features(coder, (14, 53))"
    if isinstance(indices, str) or not is_iterable(indices):
        return (check_whole(indices, name="indices", allowed=allowed, do=do),)
    if isinstance(indices, Tensor) and indices.dim() != 1:
        raise ArgumentError(f"indices is {describe(indices)}", allowed="a row of integers", do=do)
    return tuple(check_whole(i, name=f"indices[{n}]", allowed=allowed, do=do) for n, i in enumerate(indices))
