"""OnsetArms: a group of features and its controls, each read on every onset where the behaviour could begin
and where it could not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import Final, Literal, NamedTuple, final

import numpy as np
import torch

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError
from reasonmech.experiments.stages.controls import draw_controls
from reasonmech.experiments.stages.direct_path import StreamAtMoments, direct_share
from reasonmech.experiments.stages.kl_matching import KlMatch, KlMeter
from reasonmech.experiments.stages.moments import MOMENT, BehaviourMoments, Onsets, onset_ids, respond
from reasonmech.hosts import Host
from reasonmech.interventions import (
    Direction,
    Features,
    Intervention,
    ablate,
    clamp,
    labelled,
    steer,
)
from reasonmech.locate import FeatureStats, feature_stats
from reasonmech.stats import Interval

LOCATED: Final = "located"
ROW: Final = "unembedding row"
# (rate, strength) at the moments themselves, relative; strength hardly counts where KL is matched
ACTIVE_TOLERANCES: Final = ((0.2, 0.2), (0.5, 0.5), (0.5, 5.0), (0.9, 5.0))


class OnsetArm(NamedTuple):
    """What is written.

    Attributes:
        features: indices in the coder; none for a direction.
        amount: multiple of mean activations, or residual-norm units along a direction; NaN for an ablation.
        kl: nats per moment; `target`: of the located features.
        change: [moment, d_model] what it adds to the stream at the opportunities; None where that has no
            direct path.
    """

    name: str
    features: tuple[int, ...]
    plan: list[Intervention]
    amount: float
    kl: float
    target: float
    change: torch.Tensor | None


class OnsetReading(NamedTuple):
    """[moment, kind] log-probabilities at the opportunities and elsewhere."""

    opportunities: np.ndarray
    elsewhere: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class OnsetBed:
    """A host, the moments of one behaviour in its own text, and the features that are written there.

    Attributes:
        transfer: whether the coder is another model's.
    """

    host: Host
    task: str
    opportunities: BehaviourMoments
    elsewhere: BehaviourMoments
    coder: SparseCoder
    transfer: bool

    @cached_property
    def onsets(self) -> Onsets:
        return Onsets.of(self.host, self.task)

    @cached_property
    def meter(self) -> KlMeter:
        return KlMeter(self.host, self.opportunities)

    @cached_property
    def stream(self) -> StreamAtMoments | None:
        """The stream at the opportunities; None at a site whose change has no direct path."""
        try:
            return StreamAtMoments(self.host, self.opportunities, self.coder.site)
        except DataError:
            return None

    @cached_property
    def stats(self) -> FeatureStats:
        """How features fire at the opportunities themselves."""
        if self.stream is None:
            raise DataError(
                f"controls that are active at the moments of a behaviour, at {self.coder.site}",
                allowed="sites of the stream",
                do="train a coder of resid_post",
            )
        return feature_stats(self.coder, self.stream.x)

    def read(self, plan: Sequence[Intervention]) -> OnsetReading:
        """Both places under a plan."""
        behaviour = self.opportunities.behaviour
        ids, shares = onset_ids(self.host, self.task, behaviour), []
        for moments in (self.opportunities, self.elsewhere):
            response = respond(self.host, moments, plan, onsets=ids, every_onset=self.onsets)
            assert response.log_shares is not None
            shares.append(response.log_shares)
        return OnsetReading(*shares)

    def direct_share(self, arm: OnsetArm, clean: OnsetReading, reading: OnsetReading) -> Interval | None:
        """Of the arm's effect on the behaviour's own onset; None where there is no direct path."""
        if arm.change is None or self.stream is None:
            return None
        kind = self.onsets.names.index(self.opportunities.behaviour)
        direct = self.stream.log_shares(arm.change, self.onsets)[:, kind]
        return direct_share(
            self.opportunities,
            untouched=clean.opportunities[:, kind],
            direct=direct,
            touched=reading.opportunities[:, kind],
        )

    def active_sets(self, indices: Sequence[int], *, n: int, seed: int) -> list[tuple[int, ...]]:
        """Features that are as active at the opportunities as those of a group that are active there.

        Raises DataError: none of them is, or nothing matches.
        """
        active = tuple(i for i in indices if self.stats.rate[i] > 0)
        return draw_controls(self.stats, active, n=n, seed=seed, tolerances=ACTIVE_TOLERANCES).sets

    def clamp(self, indices: Sequence[int], amounts: torch.Tensor) -> list[Intervention]:
        """Features clamped at the moments."""
        features = Features(self.coder, tuple(indices), transfer=self.transfer)
        return [clamp(features, amounts, where=labelled(MOMENT)).allow_no_change()]

    def clamp_arm(self, name: str, indices: Sequence[int], unit: torch.Tensor, match: KlMatch) -> OnsetArm:
        """Features clamped at a multiple of `unit`."""
        amounts = match.amount * unit
        change = None
        if self.stream is not None:
            features = Features(self.coder, tuple(indices), transfer=self.transfer)
            change = self.stream.written_by(features, amounts)
        plan = self.clamp(indices, amounts)
        return OnsetArm(name, tuple(indices), plan, match.amount, match.kl, match.target, change)

    def ablate_arm(self, name: str, indices: Sequence[int], target: float | None = None) -> OnsetArm:
        """Features ablated everywhere; its KL is what it is.

        Args:
            target: KL of the located features; None: these are they.
        """
        features = Features(self.coder, tuple(indices), transfer=self.transfer)
        plan = [ablate(features).allow_no_change()]
        kl = self.meter.measure(plan)
        change = None if self.stream is None else self.stream.written_by(features, torch.zeros(len(indices)))
        return OnsetArm(name, tuple(indices), plan, nan, kl, kl if target is None else target, change)

    def row_arm(self, target: float, *, first: float) -> OnsetArm:
        """Steering along the unembedding row of the onset word (their mean, where there are several), at the
        KL of the located features."""
        ids = list(onset_ids(self.host, self.task, self.opportunities.behaviour))
        row = self.host.unembedding()[ids].detach().float().mean(0)
        direction = Direction.along(row, self.coder.site, name=ROW)

        def plan(amount: float) -> list[Intervention]:
            return [steer(direction, amount, where=labelled(MOMENT)).allow_no_change()]

        match = self.meter.match(plan, target, first=first)
        change = None if self.stream is None else self.stream.along(direction, match.amount)
        return OnsetArm(ROW, (), plan(match.amount), match.amount, match.kl, target, change)


Verb = Literal["clamp", "ablate"]


def clamped_arms(
    bed: OnsetBed, indices: Sequence[int], unit: torch.Tensor, dose: float
) -> tuple[OnsetArm, OnsetArm]:
    """The located features at a dose, and the unembedding row at the same KL."""
    target = bed.meter.measure(bed.clamp(indices, dose * unit))
    located = bed.clamp_arm(LOCATED, indices, unit, KlMatch(dose, target, target))
    first = 1.0 if located.change is None else float(located.change.norm(dim=-1).mean())
    return located, bed.row_arm(target, first=max(first, 1e-3))


def active_arms(
    bed: OnsetBed, verb: Verb, indices: Sequence[int], located: OnsetArm, *, n: int, seed: int
) -> list[OnsetArm]:
    """Features that are active at the same moments: clamped at the KL of the located ones, or ablated.

    Raises DataError: nothing matches.
    """
    arms = []
    for i, members in enumerate(bed.active_sets(indices, n=n, seed=seed)):
        name = f"active {i}"
        if verb == "ablate":
            arms.append(bed.ablate_arm(name, members, located.target))
            continue
        unit = torch.tensor(bed.stats.mean_active[list(members)], dtype=torch.float32)
        plan_of: Callable[[float], list[Intervention]] = _clamping(bed, members, unit)
        match = bed.meter.match(plan_of, located.target, first=located.amount)
        arms.append(bed.clamp_arm(name, members, unit, match))
    return arms


def _clamping(
    bed: OnsetBed, members: Sequence[int], unit: torch.Tensor
) -> Callable[[float], list[Intervention]]:
    return lambda amount: bed.clamp(members, amount * unit)
