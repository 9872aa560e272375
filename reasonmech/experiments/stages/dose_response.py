"""Stage `study`: what writing and removing the located features does, beside matched random ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, Literal, final

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from tqdm.auto import tqdm

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError, NoChangeError
from reasonmech.experiments.stages.base import Notes, Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.controls import TOLERANCES, draw_controls, written_stats
from reasonmech.experiments.stages.feature_groups import GroupChoice, read_groups
from reasonmech.experiments.stages.moments import (
    MOMENT,
    BehaviourMoments,
    Response,
    at_opportunities,
    elsewhere,
    onset_ids,
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
class Testbed:
    """A model, and the moments of its own text at which it is read.

    Attributes:
        side: "base" or "thinking".
    """

    side: str
    host: Host
    moments: BehaviourMoments


@dataclass(frozen=True, eq=False)
class Trial:
    """One condition to be measured."""

    condition: Condition
    testbed: Testbed
    plan: Sequence[Intervention]


@dataclass(frozen=True, eq=False)
class FeatureArm:
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


@stages.register("study")  # the kind is what configurations on disk say
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
        coders, notes, texts = read_coders(context), Notes(), StudyTexts(context)
        trials = [
            trial for choice in read_groups(context) for trial in self._trials(texts, choice, coders, notes)
        ]
        tables, receipts = [], {}
        for trial in tqdm(trials, desc="study", disable=not context.progress):
            host, moments = trial.testbed.host, trial.testbed.moments
            onsets = onset_ids(host, context.problems.task, moments.behaviour)
            try:
                response = respond(host, moments, trial.plan, onsets=onsets)
            except NoChangeError as silent:  # such as a rare feature: its effect of 0 is told with the reason
                assert isinstance(silent.result, Response)
                notes.add_failure(trial.condition.name, silent)
                response = silent.result
            tables += _rows(trial, response)
            if trial.plan:
                receipts[trial.condition.name] = [line | {"kl": response.kl} for line in response.lines]
        context.write_conditions([trial.condition for trial in trials])
        context.write_results(tables)
        context.write_receipts(receipts)
        context.write_notes(notes.lines)

    def _trials(
        self, texts: StudyTexts, choice: GroupChoice, coders: dict[str, SparseCoder], notes: Notes
    ) -> Iterator[Trial]:
        pair, behaviour = texts.context.pair, choice.clamp.behaviour
        arms = self._arms(texts, "base", coders[choice.clamp.coder], choice.clamp.indices, notes)
        for choose in (at_opportunities, elsewhere):
            moments = self._moments(choose, texts.traces("base"), behaviour, notes)
            if moments is None:
                continue
            testbed = Testbed("base", pair.base, moments)
            yield _untouched(testbed)
            for arm, dose in product(arms, self.doses):
                clamped = clamp(arm.features, dose * torch.tensor(arm.mean_active), where=labelled(MOMENT))
                yield _trial("clamp", arm, testbed, [clamped], dose=dose)
        for host, side in ((pair.thinking, "thinking"), (pair.base, "base")):
            moments = self._moments(at_opportunities, texts.traces(side), behaviour, notes)
            if moments is None:
                continue
            testbed = Testbed(side, host, moments)
            if side == "thinking":  # of the base it was yielded above
                yield _untouched(testbed)
            for arm in self._arms(texts, side, coders[choice.ablate.coder], choice.ablate.wider, notes):
                plan = [ablate(replace(arm.features, transfer=side == "thinking"), where=everywhere())]
                yield _trial("ablate", arm, testbed, plan, dose=None)

    def _moments(
        self,
        choose: Callable[..., BehaviourMoments],
        traces: Sequence[Trace],
        behaviour: str,
        notes: Notes,
    ) -> BehaviourMoments | None:
        try:
            return choose(traces, behaviour, limit=self.rollouts)
        except DataError as error:
            notes.add_failure(f"study of {behaviour}", error)
            return None

    def _arms(
        self, texts: StudyTexts, side: str, coder: SparseCoder, indices: tuple[int, ...], notes: Notes
    ) -> list[FeatureArm]:
        """The located features first, then `controls` random sets matched to them one by one on this side's
        text.

        Features that never fire on that text have no match, and are left out with a note; so is a group
        without matches, for an effect is printed beside its control only.
        """
        stats = texts.stats(side, coder)
        firing = tuple(i for i in indices if stats.rate[i] > 0)
        if silent := [i for i in indices if i not in firing]:
            notes.add_remark(
                f"features {silent} of {coder.name} never fire in the {side} model's text: left out there"
            )
        try:
            controls = draw_controls(
                stats, firing, n=self.controls, seed=texts.context.seed, tolerances=self.tolerances
            )
        except DataError as error:
            notes.add_failure(f"features {list(firing)} of {coder.name} in the {side} model's text", error)
            return []
        sets = {"located": firing} | {f"random {i}": matched for i, matched in enumerate(controls.sets)}
        return [
            FeatureArm(
                name,
                Features(coder, members),
                tuple(stats.mean_active[list(members)].tolist()),
                controls.tolerance,
                controls.description,
            )
            for name, members in sets.items()
        ]


@final
class StudyTexts:
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


def _untouched(testbed: Testbed) -> Trial:
    moments = testbed.moments
    name = f"{testbed.side} {moments.behaviour} {moments.place}"
    return Trial(Condition(name, testbed.side, tags=_tags("none", "untouched", moments, 0.0)), testbed, ())


def _trial(
    verb: str, arm: FeatureArm, testbed: Testbed, plan: Sequence[Intervention], *, dose: float | None
) -> Trial:
    moments = testbed.moments
    times = "" if dose is None else f" x{dose:g}"
    name = f"{verb} {moments.behaviour} {arm.name}{times} in {testbed.side} {moments.place}"
    located = name.replace(arm.name, "located")
    condition = Condition(
        name,
        testbed.side,
        plan_fingerprint(plan),
        control_for="" if arm.name == "located" else located,
        control=arm.control if arm.name == "located" else "",
        tags=_tags(verb, arm.name, moments, dose)
        | {"tolerance_rate": arm.tolerance.rate, "tolerance_effect": arm.tolerance.effect},
    )
    return Trial(condition, testbed, plan)


def _tags(verb: str, arm: str, moments: BehaviourMoments, dose: float | None) -> dict[str, str | float]:
    tags: dict[str, str | float] = {
        "study": "doses",
        "behaviour": moments.behaviour,
        "verb": verb,
        "place": moments.place,
        "arm": arm,
    }
    return tags if dose is None else tags | {"dose": dose}


def _rows(trial: Trial, response: Response) -> list[pd.DataFrame]:
    counts = None
    if response.lines:
        line = response.lines[0]
        names = ("n_tokens", "n_masked", "n_gated", "n_changed")
        counts = Counts(*(int(str(line[name])) for name in names))
    condition, metric, interval = trial.condition, "onset_probability", response.interval
    ends = {"": interval.estimate, ".low": interval.low, ".high": interval.high}
    rows = [
        condition.rows(f"{metric}{end}", [value], unit="share", counts=counts) for end, value in ends.items()
    ]
    if response.kl is not None:
        rows.append(condition.rows("kl", [response.kl], unit="nats per token"))
    problems = trial.testbed.moments.problems
    means, ids = by_problem(response.value, problems), np.unique(problems)
    rows.append(condition.rows(metric, means, unit="share", problems=ids))
    return rows
