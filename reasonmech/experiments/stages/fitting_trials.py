"""Trials on fitting problems: what clamping and ablating features does, beside matched random features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

import torch

from reasonmech.coders import SparseCoder
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.controls import TOLERANCES, draw_controls
from reasonmech.experiments.stages.moments import MOMENT, BehaviourMoments, onset_ids, respond
from reasonmech.hosts import Host
from reasonmech.interventions import Features, Intervention, ablate, clamp, labelled
from reasonmech.locate import FeatureStats

N_CONTROLS: Final = 2  # matched random sets per group; the stage `study` draws its own


class ClampEffect(NamedTuple):
    """Clamping at the best dose, as changes of mean P(onset) in the base.

    Attributes:
        control: the same for matched random features at this dose, mean over sets.
    """

    dose: float
    effect: float
    control: float


@dataclass(frozen=True, eq=False)
class FittingTrials:
    """Trials of features where one behaviour could begin, in fitting text of either model."""

    context: StageContext
    base: BehaviourMoments
    thinking: BehaviourMoments
    doses: Sequence[float]
    _removals: dict[tuple[str, str, tuple[int, ...]], float] = field(default_factory=dict, init=False)

    def try_alone(
        self, coder: SparseCoder, indices: Sequence[int], stats: FeatureStats, *, rollouts: int
    ) -> dict[int, float]:
        """Feature -> change of mean P(onset) in the base when it alone is clamped, at the middle dose.

        Args:
            rollouts: on how many of the fitting rollouts: this only ranks.
        """
        few, host = self.base.thinned(rollouts), self.context.pair.base
        dose = sorted(self.doses)[len(self.doses) // 2]
        untouched = self._mean(host, few, ())
        return {
            index: self._mean(host, few, _clamping(coder, (index,), stats, dose)) - untouched
            for index in indices
        }

    def try_clamping(self, coder: SparseCoder, indices: tuple[int, ...], stats: FeatureStats) -> ClampEffect:
        """Clamp features of the base at every dose, and matched random ones at the best. Raises DataError."""
        controls = draw_controls(stats, indices, n=N_CONTROLS, seed=self.context.seed, tolerances=TOLERANCES)
        effects = {dose: self._clamp_effect(coder, indices, stats, dose) for dose in self.doses}
        dose = max(effects, key=lambda d: effects[d])
        random = [self._clamp_effect(coder, matched, stats, dose) for matched in controls.sets]
        return ClampEffect(dose, effects[dose], sum(random) / len(random))

    def try_ablating(self, coder: SparseCoder, indices: tuple[int, ...]) -> float:
        """Mean P(onset) in the thinking model, untouched minus with these features ablated."""
        key = (coder.name, str(coder.site), indices)
        if key not in self._removals:
            self._removals[key] = self._removal(coder, indices)
        return self._removals[key]

    def _removal(self, coder: SparseCoder, indices: tuple[int, ...]) -> float:
        host = self.context.pair.thinking
        # where the features are silent there is nothing to remove: an effect of 0 is the finding
        plan = [ablate(Features(coder, indices, transfer=True)).allow_no_change()]
        return self.untouched[1] - self._mean(host, self.thinking, plan)

    def _clamp_effect(
        self, coder: SparseCoder, indices: tuple[int, ...], stats: FeatureStats, dose: float
    ) -> float:
        plan = _clamping(coder, indices, stats, dose)
        return self._mean(self.context.pair.base, self.base, plan) - self.untouched[0]

    @cached_property
    def untouched(self) -> tuple[float, float]:
        """Mean P(onset) in the base and in the thinking model."""
        pair = self.context.pair
        return self._mean(pair.base, self.base, ()), self._mean(pair.thinking, self.thinking, ())

    @cached_property
    def _onsets(self) -> dict[Host, tuple[int, ...]]:
        pair, task = self.context.pair, self.context.problems.task
        return {host: onset_ids(host, task, self.base.behaviour) for host in (pair.base, pair.thinking)}

    def _mean(self, host: Host, moments: BehaviourMoments, plan: Sequence[Intervention]) -> float:
        return respond(host, moments, plan, onsets=self._onsets[host]).interval.estimate


def _clamping(
    coder: SparseCoder, indices: tuple[int, ...], stats: FeatureStats, dose: float
) -> list[Intervention]:
    """Features clamped to multiples of their mean activation, where the behaviour could begin.

    One that is at its dose there already has nothing to change: an effect of 0 is the finding.
    """
    amounts = dose * torch.tensor(stats.mean_active[list(indices)], dtype=torch.float32)
    return [clamp(Features(coder, indices), amounts, where=labelled(MOMENT)).allow_no_change()]
