"""Lengths: how long texts become and how many of them end, and whether a steered model runs away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from reasonmech.rollout import Rollouts

LONGER: Final = 1.5  # times as long as the longer of the two models unsteered
UNENDED: Final = 0.1  # share of texts that may fail to end beyond what the worse of the two models leaves


@dataclass(frozen=True)
class Lengths:
    """Texts of one condition.

    Attributes:
        tokens: mean number of tokens written.
        ends: share of texts that end by themselves.
    """

    tokens: float
    ends: float

    @classmethod
    def of(cls, rollouts: Rollouts) -> Lengths:
        return cls(
            float(np.mean([len(rollout.ids) for rollout in rollouts])),
            float(np.mean([rollout.stop == "eos" for rollout in rollouts])),
        )

    def runs_away(self, unsteered: Sequence[Lengths]) -> bool:
        """Whether these texts are much longer, or end much more rarely, than those of either model."""
        longest, fewest = max(one.tokens for one in unsteered), min(one.ends for one in unsteered)
        return self.tokens > LONGER * longest or self.ends < fewest - UNENDED

    def __str__(self) -> str:
        return f"{self.tokens:.0f} tokens a text, {self.ends:.0%} of which end"
