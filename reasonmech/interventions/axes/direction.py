"""Direction: a unit vector at one site."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import BindError, MismatchError
from reasonmech.interventions.axes.axis import Axis, axes
from reasonmech.interventions.canonical import Json, tensor_json
from reasonmech.interventions.checks import check_site, check_tensor
from reasonmech.interventions.reading.entry import Entry, tensor_settings
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host

UNIT_TOLERANCE: Final = 1e-3


@checked
@axes.register("direction")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Direction(Axis):
    """A unit vector at a site: c = <x, v>, W(dc) = dc * v, in residual-norm units.

    Attributes:
        vector: [d_model], norm 1.
        site: where it was found; moving it elsewhere means making a new one.
        name: for people; no part of its identity.

    Raises:
        ArgumentError: the vector is no floating-point tensor. BindError: it is not a finite unit vector.
    """

    vector: Float[Tensor, " d_model"]
    site: Site
    name: str = ""

    def __post_init__(self) -> None:
        _check_vector(self.vector)
        object.__setattr__(self, "site", check_site(self.site))
        norm = _exact_norm(self.vector)
        rounding = torch.finfo(self.vector.dtype).eps / 2  # of each number, so of the norm at most
        if self.vector.dim() != 1 or abs(norm - 1) > max(UNIT_TOLERANCE, rounding):
            raise BindError(
                f"a direction of shape {tuple(self.vector.shape)} and norm {norm:.4g}",
                allowed="one vector of norm 1, so that amounts are in residual-norm units",
                do="Direction.along(vector, site) normalises it (in a plan file: normalise: true);"
                " steer(Whole(site), vector) adds a raw vector",
            )

    @classmethod
    @checked
    def along(cls, vector: Float[Tensor, " d_model"], site: Site | str, *, name: str = "") -> Self:
        """The direction of a raw vector.

        Raises:
            ArgumentError: it is no floating-point tensor. BindError: it is not finite, or zero.
        """
        half = _check_vector(vector).dtype in (torch.bfloat16, torch.float16)
        wide, exact = vector.float() if half else vector, _exact_norm(vector)
        norm = wide.norm()
        if exact == 0:
            raise BindError("the zero vector has no direction", allowed="a vector of norm > 0")
        if abs(float(norm.detach()) / exact - 1) > UNIT_TOLERANCE:
            raise BindError(
                f"a vector of norm {exact:.3g}, of which {wide.dtype} cannot hold the squares",
                allowed="a norm that is computed without overflow or underflow",
                do="look at where the vector comes from; its direction alone is "
                "rm.Direction.along(vector / vector.abs().max(), site)",
            )
        return cls((wide / norm).to(vector.dtype), check_site(site), name)

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        """`{kind: direction, site: resid_post.2, file: v.safetensors}`, perhaps with `normalise: true`."""
        entry.only(("site", "name", "normalise", *tensor_settings("vector")))
        vector, site = entry.read_tensor("vector"), entry.read("site", Site)
        stem = Path(str(entry.settings.get("file", ""))).stem
        make = cls.along if entry.read("normalise", bool, False) else cls
        return make(vector, site, name=entry.read("name", str, stem))

    def __repr__(self) -> str:
        named = f"{self.name!r}, " if self.name else ""
        return f"Direction({named}{self.site}, width {len(self.vector)})"

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


def _check_vector(vector: object) -> Tensor:
    return check_tensor(
        vector,
        name="the direction",
        allowed="a torch tensor [d_model]",
        do='rm.Direction.along(torch.as_tensor(vector), "resid_post.2")',
    )


def _exact_norm(vector: Tensor) -> float:
    """Of numbers of any size: scaled by the largest one, whose square might not be a number."""
    wide = vector.detach().double()
    largest = float(wide.abs().max()) if wide.numel() else 0.0
    return largest * float((wide / largest).norm()) if largest > 0 else 0.0
