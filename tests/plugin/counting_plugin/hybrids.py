"""A gate, a selector, an executor and an arm of the hybrid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reasonmech.hybrid import Arm, Hybrid, Moment, OfThinking, Takeover, arms, executors, gates, selectors


@gates.register("never")
@dataclass(frozen=True)
class Never:
    """Never open."""

    def opens(self, moment: Moment) -> Tensor:
        return torch.zeros_like(moment.category, dtype=torch.bool)


@selectors.register("first")
@dataclass(frozen=True)
class First:
    """Always the first category."""

    def select(self, moment: Moment) -> Tensor:
        return torch.zeros_like(moment.category)


executors.register("my_takeover")(Takeover)
arms.register("never")(
    Arm(
        lambda ingredients: Hybrid(
            ingredients.pair,
            gate=Never(),
            selector=OfThinking(),
            executor=ingredients.vectors,
            kinds=ingredients.kinds,
        ),
        "full",
        "",
    )
)
