"""Trials of the stage `study`: one condition each, its name, its plan, and the rows of what it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from reasonmech.experiments.stages.moments import BehaviourMoments, Response
from reasonmech.experiments.tables import Condition, Counts
from reasonmech.hosts import Host
from reasonmech.interventions import Features, Intervention, plan_fingerprint
from reasonmech.locate import Tolerance
from reasonmech.stats import by_problem

Verb: TypeAlias = Literal["clamp", "ablate"]


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


def trial_name(verb: str, behaviour: str, arm: str, dose: float | None, *at: str) -> str:
    """A condition; `at`: the side and the place."""
    side, place = at
    return f"{verb} {behaviour} {arm}{'' if dose is None else f' x{dose:g}'} in {side} {place}"


def untouched_trial(testbed: Testbed) -> Trial:
    """The model as it is."""
    moments = testbed.moments
    name = f"{testbed.side} {moments.behaviour} {moments.place}"
    return Trial(Condition(name, testbed.side, tags=_tags("none", "untouched", moments, 0.0)), testbed, ())


def located_trial(
    verb: str, arm: FeatureArm, testbed: Testbed, plan: Sequence[Intervention], *, dose: float | None
) -> Trial:
    """Features of an arm clamped at a dose, or ablated (no dose)."""
    moments = testbed.moments
    name, located = (
        trial_name(verb, moments.behaviour, one, dose, testbed.side, moments.place)
        for one in (arm.name, "located")
    )
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


def trial_rows(trial: Trial, response: Response) -> list[pd.DataFrame]:
    """What a trial did, as rows of the run's long table: as a whole, and by problem."""
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
