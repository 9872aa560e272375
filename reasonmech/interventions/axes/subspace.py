"""Subspace: several orthonormal directions at one site, read and written together."""

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
from reasonmech.interventions.axes.direction import UNIT_TOLERANCE
from reasonmech.interventions.canonical import Json, tensor_json
from reasonmech.interventions.checks import check_site, check_tensor
from reasonmech.interventions.reading.entry import Entry, tensor_settings
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host

# of the longest vector: what is shorter once the others are taken out adds no dimension
DEPENDENT: Final = 1e-5

ROWS: Final = "a torch tensor [k, width]"
SPAN: Final = 'rm.Subspace.spanned_by(torch.stack([u, v]), "resid_post.2")'


@checked
@axes.register("subspace")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Subspace(Axis):
    """An orthonormal basis B [k, width] at a site: c = B x, W(dc) = B^T dc, in residual-norm units.

    Patching it is an interchange in a subspace (Geiger et al. 2023, "Finding Alignments Between Interpretable
    Causal Variables and Distributed Neural Representations", eq. 3), with the basis given rather than a
    rotation learned.

    Attributes:
        basis: orthonormal rows.
        site: where it was found.
        name: for people; no part of its identity.

    Raises:
        BindError: the rows are not finite, not of norm 1, or not orthogonal.
    """

    basis: Float[Tensor, "k width"]
    site: Site
    name: str = ""

    def __post_init__(self) -> None:
        check_tensor(self.basis, name="the basis", allowed=ROWS, do=SPAN)
        object.__setattr__(self, "site", check_site(self.site))
        rows = self.basis.detach().float()
        error = (
            float((rows @ rows.T - torch.eye(len(rows)).to(rows)).abs().max())
            if rows.dim() == 2 and len(rows)
            else 1
        )
        if error > UNIT_TOLERANCE:
            raise BindError(
                f"a basis of shape {tuple(self.basis.shape)} whose products are {error:.2g} off the identity",
                allowed="orthonormal rows [k, width], so that amounts are in residual-norm units",
                do="Subspace.spanned_by(vectors, site) makes an orthonormal basis of what they span"
                " (in a plan file: orthonormalise: true)",
            )

    @classmethod
    @checked
    def spanned_by(cls, vectors: Float[Tensor, "k width"], site: Site | str, *, name: str = "") -> Self:
        """The subspace that vectors span; the first basis vector is along the first of them, and so on.

        Raises:
            ArgumentError: no floating-point tensor.
            BindError: no rows, or linearly dependent ones: they span fewer than k dimensions.
        """
        check_tensor(vectors, name="the vectors of a subspace", allowed=ROWS, do=SPAN)
        if vectors.dim() != 2 or not len(vectors):
            raise BindError(f"vectors of shape {tuple(vectors.shape)}", allowed="[k, width], k >= 1", do=SPAN)
        wide = vectors.detach().double()
        q, r = torch.linalg.qr(wide.T)
        lengths = r.diagonal()
        if len(lengths) < len(wide) or float(lengths.abs().min()) < DEPENDENT * float(
            wide.norm(dim=-1).max()
        ):
            raise BindError(
                f"{len(wide)} vectors of width {wide.shape[-1]} that span fewer dimensions",
                allowed="linearly independent vectors",
                do="leave out those that the others already span",
            )
        return cls((q * lengths.sign()).T.to(vectors.dtype).contiguous(), check_site(site), name)

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        """`{kind: subspace, site: z.1.2, file: f.safetensors}`, perhaps with `orthonormalise: true`."""
        entry.only(("site", "name", "orthonormalise", *tensor_settings("basis")))
        basis, site = entry.read_tensor("basis"), entry.read("site", Site)
        stem = Path(str(entry.settings.get("file", ""))).stem
        make = cls.spanned_by if entry.read("orthonormalise", bool, False) else cls
        return make(basis, site, name=entry.read("name", str, stem))

    def __repr__(self) -> str:
        named = f"{self.name!r}, " if self.name else ""
        return f"Subspace({named}{self.site}, {len(self.basis)} of {self.basis.shape[1]} dimensions)"

    @property
    def at(self) -> Site:
        return self.site

    @property
    def n_coords(self) -> int:
        return len(self.basis)

    def read(self, x: Float[Tensor, "token width"]) -> Float[Tensor, "token coord"]:
        return x @ self.basis.to(x).T

    def write(self, delta: Float[Tensor, "token coord"]) -> Float[Tensor, "token width"]:
        return delta @ self.basis.to(delta)

    def check(self, host: Host) -> None:
        if self.basis.shape[1] != host.width(self.site):
            raise MismatchError(
                f"subspace {self.name!r} has {self.basis.shape[1]} dimensions,"
                f" {self.site} of host {host.name!r} has {host.width(self.site)}",
                do="use a subspace found in this model",
            )

    def to(self, device: torch.device) -> Subspace:
        return replace(self, basis=self.basis.to(device))

    def to_json(self) -> dict[str, Json]:
        return {"kind": "subspace", "site": str(self.site), "basis": tensor_json(self.basis)}
