"""Stage `study`: what writing the located features does, beside matched random ones, and what removing them
does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
from reasonmech.experiments.stages.controls import TOLERANCES, draw_controls, written_stats
from reasonmech.experiments.stages.feature_groups import Chosen, read_groups
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
from reasonmech.interventions import (
    Features,
    Intervention,
    ablate,
    clamp,
    everywhere,
    labelled,
    plan_fingerprint,
)
from reasonmech.locate import FeatureStats, Tolerance
from reasonmech.rollout import Trace
from reasonmech.runtime import capture
from reasonmech.stats import by_problem
from reasonmech.tasks import parse

STUDIED: Final[dict[str, Source]] = {"base": "study_base", "thinking": "study_thinking"}


@dataclass(frozen=True, eq=False)
class Trial:
    """One condition to be measured."""

    condition: Condition
    host: Host
    moments: Moments
    plan: Sequence[Intervention]


@dataclass(frozen=True, eq=False)
class Arm:
    """Features to write: the located group, or a random one matched to it.

    Attributes:
        mean_active: of each feature where it fires, in activation units: dose 1.
        tolerance: within which the random groups are matched, and `control` says so.
    """

    name: str
    features: Features
    mean_active: tuple[float, ...]
    tolerance: Tolerance
    control: str


@stages.register("study")
class StudyFeatures(Stage):
    """Clamp each group in the base, at opportunities and elsewhere, and ablate it in both models.

    Teacher-forced: each text is read as it was written, and the probability that the next token begins the
    behaviour is read off. Every located arm stands beside `controls` random ones.
    """

    needs = ("rollouts", "coders", "groups")

    kind: Literal["study"] = "study"
    doses: tuple[float, ...] = Field(
        (1.0, 2.0, 4.0, 8.0), min_length=1, description="multiples of mean activations"
    )
    controls: int = Field(3, gt=0, description="matched random groups per behaviour")
    tolerances: tuple[tuple[float, float], ...] = Field(
        TOLERANCES,
        min_length=1,
        description="matching of rate and of decoder norm x mean activation; the first that has matches is "
        "used",
    )
    rollouts: int = Field(300, gt=0, description="evaluation rollouts per behaviour and place")

    def run(self, context: StageContext) -> None:
        coders, notes, read = read_coders(context), [], _Read(context)
        trials = [
            trial for chosen in read_groups(context) for trial in self._trials(read, chosen, coders, notes)
        ]
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
        self, read: _Read, chosen: Chosen, coders: dict[str, SparseCoder], notes: list[str]
    ) -> Iterator[Trial]:
        pair, behaviour = read.context.pair, chosen.clamp.behaviour
        arms = self._arms(read, "base", coders[chosen.clamp.coder], chosen.clamp.indices, notes)
        for choose in (at_opportunities, elsewhere):
            moments = self._moments(choose, read.traces("base"), behaviour, notes)
            if moments is None:
                continue
            yield _untouched(pair.base, "base", moments)
            for arm, dose in product(arms, self.doses):
                clamped = clamp(arm.features, dose * torch.tensor(arm.mean_active), where=labelled(HERE))
                yield _trial("clamp", arm, pair.base, "base", moments, [clamped], dose)
        for host, side in ((pair.thinking, "thinking"), (pair.base, "base")):
            moments = self._moments(at_opportunities, read.traces(side), behaviour, notes)
            if moments is None:
                continue
            if side == "thinking":
                yield _untouched(host, side, moments)
            for arm in self._arms(read, side, coders[chosen.ablate.coder], chosen.ablate.wider, notes):
                plan = [ablate(replace(arm.features, transfer=side == "thinking"), where=everywhere())]
                yield _trial("ablate", arm, host, side, moments, plan, float("nan"))

    def _moments(
        self, choose: Callable[..., Moments], traces: Sequence[Trace], behaviour: str, notes: list[str]
    ) -> Moments | None:
        try:
            return choose(traces, behaviour, limit=self.rollouts)
        except DataError as error:
            notes.append(f"study of {behaviour}: {error.happened}")
            return None

    def _arms(
        self, read: _Read, side: str, coder: SparseCoder, indices: tuple[int, ...], notes: list[str]
    ) -> list[Arm]:
        """The located features first, then `controls` random sets matched to them one by one on this side's
        text.

        Features that never fire on that text have no match, and are left out with a note; so is a group
        without matches, for an effect is printed beside its control only.
        """
        stats = read.stats(side, coder)
        firing = tuple(i for i in indices if stats.rate[i] > 0)
        if silent := [i for i in indices if i not in firing]:
            notes.append(
                f"features {silent} of {coder.name} never fire in the {side} model's text: left out there"
            )
        try:
            drawn = draw_controls(
                stats, firing, n=self.controls, seed=read.context.seed, tolerances=self.tolerances
            )
        except DataError as error:
            notes.append(
                f"features {list(firing)} of {coder.name} in the {side} model's text: {error.happened}"
            )
            return []
        named = {"located": firing} | {f"random {i}": some for i, some in enumerate(drawn.sets)}
        return [
            Arm(
                name,
                Features(coder, some),
                tuple(stats.mean_active[list(some)].tolist()),
                drawn.tolerance,
                drawn.said,
            )
            for name, some in named.items()
        ]


class _Read:
    """What the models wrote on the evaluation problems, and how coders fire on it; each is read once."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self._traces: dict[str, list[Trace]] = {}
        self._stats: dict[tuple[str, str], FeatureStats] = {}

    def traces(self, side: str) -> list[Trace]:
        if side not in self._traces:
            self._traces[side] = parse(read_rollouts(self.context, STUDIED[side]))
        return self._traces[side]

    def stats(self, side: str, coder: SparseCoder) -> FeatureStats:
        """How a coder's features fire in this side's host, over the answers."""
        key = (side, f"{coder.name} {coder.site}")
        if key not in self._stats:
            host = self.context.pair.base if side == "base" else self.context.pair.thinking
            acts = capture(host, read_rollouts(self.context, STUDIED[side]), [coder.site], progress=False)
            self._stats[key] = written_stats(coder, acts)
        return self._stats[key]


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
        control=arm.control if arm.name == "located" else "",
        tags=_tags(verb, arm.name, moments, dose)
        | {"tolerance_rate": arm.tolerance.rate, "tolerance_effect": arm.tolerance.effect},
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
    rows = [
        condition.rows(f"{metric}{end}", [value], unit="share", counts=counts) for end, value in whole.items()
    ]
    if found.kl is not None:
        rows.append(condition.rows("kl", [found.kl], unit="nats per token"))
    means, ids = by_problem(found.value, trial.moments.problems), np.unique(trial.moments.problems)
    rows.append(condition.rows(metric, means, unit="share", problems=ids))
    return rows
