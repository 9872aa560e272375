"""Stage `study`: what writing the located features does, beside matched random ones, and what removing them does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Final, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from tqdm.auto import tqdm

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.groups import Group, read_groups
from reasonmech.experiments.stages.moments import (
    HERE,
    Moments,
    Response,
    at_opportunities,
    elsewhere,
    onset_id,
    respond,
)
from reasonmech.experiments.stages.rollouts import Source, read_rollouts
from reasonmech.experiments.tables import Condition, Counts
from reasonmech.hosts import Host
from reasonmech.interventions import Features, Intervention, ablate, clamp, everywhere, labelled, plan_fingerprint
from reasonmech.locate import FeatureStats, Tolerance, feature_stats, matched_features
from reasonmech.runtime import capture
from reasonmech.stats import by_problem
from reasonmech.tasks import parse

STUDIED: Final[dict[str, Source]] = {"base": "study_base", "thinking": "study_thinking"}
NAMED_CONTROL = "random features matched in firing rate and strength"


@dataclass(frozen=True, eq=False)
class Trial:
    """One condition to be measured."""

    condition: Condition
    host: Host
    moments: Moments
    plan: Sequence[Intervention]


@dataclass(frozen=True, eq=False)
class Arm:
    """Features to write: the located group, or a random one matched to it."""

    name: str
    features: Features
    mean_active: tuple[float, ...]


@stages.register("study")
class StudyFeatures(Stage):
    """Clamp each group in the base, at opportunities and elsewhere, and ablate it in both models.

    Teacher-forced: each text is read as it was written, and the probability that the next token begins the behaviour
    is read off. Every located arm stands beside `controls` random ones.
    """

    needs = ("rollouts", "coders", "groups")

    kind: Literal["study"] = "study"
    doses: tuple[float, ...] = Field((0.5, 1.0, 2.0, 4.0), min_length=1, description="multiples of mean activations")
    controls: int = Field(3, gt=0, description="matched random groups per behaviour")
    tolerances: tuple[tuple[float, float], ...] = Field(
        ((0.2, 0.1), (0.5, 0.3), (1.0, 1.0)),
        min_length=1,
        description="matching of rate and of decoder norm x mean activation; the first that has matches is used",
    )
    rollouts: int = Field(300, gt=0, description="evaluation rollouts per behaviour and place")

    def run(self, context: StageContext) -> None:
        coders, notes = read_coders(context), []
        trials = [trial for group in read_groups(context) for trial in self._trials(context, group, coders, notes)]
        tables, receipts = [], {}
        for trial in tqdm(trials, desc="study", disable=not context.progress):
            onset = onset_id(trial.host, context.problems.task, trial.moments.behaviour)
            found = respond(trial.host, trial.moments, trial.plan, onset=onset)
            tables += _rows(trial, found)
            if trial.plan:
                receipts[trial.condition.name] = [line | {"kl": found.kl} for line in found.lines]
        context.write_conditions([trial.condition for trial in trials])
        context.write_results(tables)
        context.write_receipts(receipts)
        context.write_notes(notes)

    def _trials(
        self, context: StageContext, group: Group, coders: dict[str, SparseCoder], notes: list[str]
    ) -> Iterator[Trial]:
        pair, behaviour = context.pair, group.behaviour
        texts = {side: parse(read_rollouts(context, source)) for side, source in STUDIED.items()}
        draw = _Controls(context, self.controls, self.tolerances, coders[group.coder], notes)
        arms = draw.arms(behaviour, group.indices)
        for choose in (at_opportunities, elsewhere):
            moments = choose(texts["base"], behaviour, limit=self.rollouts)
            yield _untouched(pair.base, "base", moments)
            for arm, dose in product(arms, self.doses):
                clamped = clamp(arm.features, dose * torch.tensor(arm.mean_active), where=labelled(HERE))
                yield _trial("clamp", arm, pair.base, "base", moments, [clamped], dose)
        removed = draw.arms(behaviour, group.wider)
        for host, side in ((pair.thinking, "thinking"), (pair.base, "base")):
            moments = at_opportunities(texts[side], behaviour, limit=self.rollouts)
            if side == "thinking":
                yield _untouched(host, side, moments)
            for arm in removed:
                plan = [ablate(replace(arm.features, transfer=side == "thinking"), where=everywhere())]
                yield _trial("ablate", arm, host, side, moments, plan, float("nan"))


@dataclass(frozen=True, eq=False)
class _Controls:
    """Random features of a coder that are like the located ones on the text on which all of them are compared."""

    context: StageContext
    n: int
    tolerances: Sequence[tuple[float, float]]
    coder: SparseCoder
    notes: list[str]

    @cached_property
    def stats(self) -> FeatureStats:
        host, site = self.context.pair.base, self.coder.site
        acts = capture(host, read_rollouts(self.context, "study_base"), [site], progress=False)
        return feature_stats(self.coder, acts.at(site))

    def arms(self, behaviour: str, indices: tuple[int, ...]) -> list[Arm]:
        """The located features first, then `n` random sets matched to them one by one."""
        drawn = {"located": indices} | {f"random {i}": some for i, some in enumerate(self._matched(behaviour, indices))}
        return [
            Arm(name, Features(self.coder, some), tuple(self.stats.mean_active[list(some)].tolist()))
            for name, some in drawn.items()
        ]

    def _matched(self, behaviour: str, indices: tuple[int, ...]) -> list[tuple[int, ...]]:
        for rate, effect in self.tolerances:
            try:
                return matched_features(
                    self.stats, indices, n=self.n, seed=self.context.seed, tolerance=Tolerance(rate, effect)
                )
            except DataError as error:
                what = f"controls of {len(indices)} {behaviour} features within {rate:.0%} and {effect:.0%}"
                self.notes.append(f"{what}: {error.happened}")
        raise DataError(
            f"no random features match the group of {behaviour!r}", do="widen `tolerances`, or train wider coders"
        )


def _untouched(host: Host, side: str, moments: Moments) -> Trial:
    tags = _tags("none", "untouched", moments, 0.0)
    return Trial(Condition(f"{side} {moments.behaviour} {moments.place}", side, tags=tags), host, moments, ())


def _trial(
    verb: str, arm: Arm, host: Host, side: str, moments: Moments, plan: Sequence[Intervention], dose: float
) -> Trial:
    said = f" x{dose:g}" if np.isfinite(dose) else ""
    name = f"{verb} {moments.behaviour} {arm.name}{said} in {side} {moments.place}"
    located = name.replace(arm.name, "located")
    condition = Condition(
        name,
        side,
        plan_fingerprint(plan),
        control_for="" if arm.name == "located" else located,
        control=NAMED_CONTROL if arm.name == "located" else "",
        tags=_tags(verb, arm.name, moments, dose),
    )
    return Trial(condition, host, moments, plan)


def _tags(verb: str, arm: str, moments: Moments, dose: float) -> dict[str, str | float]:
    tags: dict[str, str | float] = {
        "study": "doses",
        "behaviour": moments.behaviour,
        "verb": verb,
        "place": moments.place,
        "arm": arm,
    }
    return tags | ({"dose": dose} if np.isfinite(dose) else {})


def _rows(trial: Trial, found: Response) -> list[pd.DataFrame]:
    counts = None
    if found.lines:
        line = found.lines[0]
        counts = Counts(int(str(line["n_tokens"])), int(str(line["n_masked"])), int(str(line["n_fired"])))
    condition, metric = trial.condition, "onset_probability"
    whole = {"": found.interval.estimate, ".low": found.interval.low, ".high": found.interval.high}
    rows = [condition.rows(f"{metric}{end}", [value], unit="share", counts=counts) for end, value in whole.items()]
    if found.kl is not None:
        rows.append(condition.rows("kl", [found.kl], unit="nats per token"))
    means, ids = by_problem(found.value, trial.moments.problems), np.unique(trial.moments.problems)
    rows.append(condition.rows(metric, means, unit="share", problems=ids))
    return rows
