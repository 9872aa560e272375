"""Whole: the stream itself at one site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.interventions.axes.axis import Axis, axes
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.checks import check_site
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.host import Host


@axes.register("whole")
@final
@dataclass(frozen=True, repr=False)
class Whole(Axis):
    """The whole residual stream at a site: c = x, W(dc) = dc."""

    site: Site
    replaces = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "site", check_site(self.site))

    def __repr__(self) -> str:
        return f"Whole({self.site})"

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
