"""BeginKind: the executor that lets a model begin a sentence of a kind in its own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.hybrid import Moment
from reasonmech.kinds import Openings
from reasonmech.runtime.rerun import CleanPast
from reasonmech.shapes import NextLogits


@final
@dataclass(frozen=True, eq=False)
class BeginKind:
    """Executor: the base's own logits among the first tokens of the category's kind, and nothing else.

    What a splice does at a boundary, by a controller that need not be a model.
    """

    openings: Openings

    def covers(self, category: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return torch.isin(category, torch.tensor(self.openings.categories))

    def execute(
        self, moment: Moment, context: CleanPast, rows: Int[Tensor, " row"], category: Int[Tensor, " row"]
    ) -> NextLogits:
        base = moment.base[rows.to(moment.base.device)]
        allowed = torch.zeros_like(base, dtype=torch.bool)
        for row, column in enumerate(self.openings.columns(category).tolist()):
            allowed[row, self.openings.tokens[column].to(base.device)] = True
        return base.masked_fill(~allowed, -torch.inf)
