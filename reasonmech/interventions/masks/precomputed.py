"""A mask that was computed before: one row of marks per row of a pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from reasonmech.errors import MismatchError
from reasonmech.interventions.canonical import Json
from reasonmech.interventions.masks.where import Where
from reasonmech.shapes import Mask
from reasonmech.step import Step


@final
@dataclass(frozen=True, eq=False, repr=False)
class PrecomputedMask(Where):
    """Marks of one batch, whole texts, padding included; made by what packs many plans into a batch."""

    marks: Mask
    kind = "given"

    def mask(self, step: Step) -> Mask:
        if self.marks.shape != step.mask.shape:
            raise MismatchError(
                f"marks of shape {tuple(self.marks.shape)} on texts of shape {tuple(step.mask.shape)}",
                do="return one mark per token from Where.mask: step.mask.shape",
            )
        return self.marks

    def to_json(self) -> dict[str, Json]:
        raise NotImplementedError("marks of one batch are never part of a plan that is stored")
