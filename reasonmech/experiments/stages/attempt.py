"""Attempts: what writing and removing features does on fitting problems, beside random features matched to
them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from reasonmech.coders import SparseCoder
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.controls import TOLERANCES, draw_controls
from reasonmech.experiments.stages.moments import HERE, Moments, onset_id, respond
from reasonmech.hosts import Host
from reasonmech.interventions import Features, Intervention, ablate, clamp, labelled
from reasonmech.locate import FeatureStats

CONTROLS = 2  # matched random sets per group; the study draws its own


class Written(NamedTuple):
    """Clamping at the best dose, as changes of mean P(onset) in the base.

    Attributes:
        control: the same for matched random features at this dose, mean over sets.
    """

    dose: float
    effect: float
    control: float


@dataclass(frozen=True, eq=False)
class Attempt:
    """Moments of fitting problems at which one behaviour could begin, in text of either model."""

    context: StageContext
    base: Moments
    thinking: Moments
    doses: Sequence[float]

    def write(self, coder: SparseCoder, indices: tuple[int, ...], stats: FeatureStats) -> Written:
        """Clamp features of the base at every dose, and matched random ones at the best. Raises DataError."""
        drawn = draw_controls(stats, indices, n=CONTROLS, seed=self.context.seed, tolerances=TOLERANCES)
        effects = {dose: self._clamped(coder, indices, stats, dose) for dose in self.doses}
        dose = max(effects, key=lambda d: effects[d])
        random = [self._clamped(coder, some, stats, dose) for some in drawn.sets]
        return Written(dose, effects[dose], sum(random) / len(random))

    def remove(self, coder: SparseCoder, indices: tuple[int, ...]) -> float:
        """Mean P(onset) in the thinking model, untouched minus with these features ablated."""
        host = self.context.pair.thinking
        removed = self._mean(host, self.thinking, [ablate(Features(coder, indices, transfer=True))])
        return self._untouched[1] - removed

    def _clamped(
        self, coder: SparseCoder, indices: tuple[int, ...], stats: FeatureStats, dose: float
    ) -> float:
        amounts = dose * torch.tensor(stats.mean_active[list(indices)], dtype=torch.float32)
        plan = [clamp(Features(coder, indices), amounts, where=labelled(HERE))]
        return self._mean(self.context.pair.base, self.base, plan) - self._untouched[0]

    @cached_property
    def _untouched(self) -> tuple[float, float]:
        """Mean P(onset) in the base and in the thinking model."""
        pair = self.context.pair
        return self._mean(pair.base, self.base, ()), self._mean(pair.thinking, self.thinking, ())

    def _mean(self, host: Host, moments: Moments, plan: Sequence[Intervention]) -> float:
        onset = onset_id(host, self.context.problems.task, moments.behaviour)
        return respond(host, moments, plan, onset=onset, receipt="none").interval.estimate
