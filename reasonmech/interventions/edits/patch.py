"""Patch: coordinates become those of another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import BindError, DataError
from reasonmech.interventions.axes.axis import Axis
from reasonmech.interventions.canonical import Json, amount_json
from reasonmech.interventions.checks import check_tensor
from reasonmech.interventions.edits.edit import Edit, Place, Values, edits

SHAPES: Final = "a tensor [d_model], [pos, d_model] or [row, pos, d_model]"


@edits.register("patch")
@final
@dataclass(frozen=True, eq=False, repr=False)
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
        check_tensor(
            self.source,
            name="the source of patch",
            allowed=SHAPES,
            do='rm.capture(host, texts, ["resid_post.2"]).at("resid_post.2") is one [pos, d_model]',
        )
        return True

    def check(self, axis: Axis) -> None:
        _ = self._finite  # raises where it is not
        if self.source.dim() not in (1, 2, 3):
            raise BindError(
                f"the source of patch has shape {tuple(self.source.shape)}",
                allowed=SHAPES,
            )

    def streams(self, axis: Axis) -> Mapping[str, Tensor]:
        return {"the source of patch": self.source}

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "source": amount_json(self.source)}
