"""The located features that the arm `clamp` writes in place of category vectors, tried on a tuning split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError
from reasonmech.experiments.ledger import Cause
from reasonmech.experiments.stages.base import Notes, StageContext
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.groups import Group, read_candidates
from reasonmech.experiments.stages.lengths import Lengths
from reasonmech.hosts import Host
from reasonmech.hybrid import CLAMPED, ClampFeatures, Ingredients, Kinds, hybrid_from_config
from reasonmech.problem import ProblemSet
from reasonmech.runtime import generate
from reasonmech.runtime.decoding.decoder import Decoder
from reasonmech.tasks import grade, load_task

CODERS: Final = 3  # that are tried, those whose groups do most


@dataclass(frozen=True, eq=False)
class ClampedGroups:
    """Features of one coder in place of vectors: category -> (indices, activations they are clamped to).

    Attributes:
        name: of the coder, and how strongly: "topk/resid_post.1 at 0.5 of its doses".
        behaviours: those that have features here.
    """

    name: str
    behaviours: tuple[str, ...]
    coder: SparseCoder
    features: Mapping[int, tuple[tuple[int, ...], tuple[float, ...]]]

    def executor(self, host: Host, n: int) -> ClampFeatures:
        return ClampFeatures(host, self.coder, features=self.features, n=n)

    def to_json(self) -> list[object]:
        return [self.coder.weight_hash, str(self.coder.site), sorted(self.features.items())]


@dataclass(frozen=True)
class TunedClamp:
    """What clamped groups did on the tuning problems."""

    groups: ClampedGroups
    accuracy: float
    lengths: Lengths

    def __str__(self) -> str:
        return f"{self.groups.name}: {self.accuracy:.0%} right, {self.lengths}"


def clamped_groups(context: StageContext, kinds: Kinds, strengths: Sequence[float]) -> list[ClampedGroups]:
    """What could be clamped: the groups of one coder, those whose groups do most over their controls first.

    Groups that do no more than theirs are left out. Coders of the last layer, where a feature is hardly more
    than a logit, stand in only where there is no other.

    Args:
        strengths: multiples of each group's dose.

    Raises:
        DataError: no group was tried, or none does more than its control.
    """
    last, tried = f"resid_post.{context.pair.base.n_layers - 1}", read_candidates(context)
    if not tried:
        cause = context.ledger_of("groups").first_cause("group")
        raise DataError("no group of features was asked for") if cause is None else cause.as_error()
    candidates = [group for group in tried if group.gain > 0]
    usable = [group for group in candidates if group.site != last] or candidates
    if not usable:
        raise DataError(
            f"none of {len(tried)} groups does more than matched random features: nothing to clamp",
            do="look at their effects and controls in stages/groups, or leave the arm `clamp` out",
        )
    by_coder: dict[str, dict[str, Group]] = {}
    for group in sorted(usable, key=lambda group: group.gain):  # the one with the largest gain stays
        by_coder.setdefault(group.coder, {})[group.behaviour] = group
    ordered = sorted(by_coder, key=lambda coder: -sum(group.gain for group in by_coder[coder].values()))
    coders = read_coders(context)
    return [
        ClampedGroups(
            f"{name} at {strength:g} of its doses",
            tuple(by_coder[name]),
            coders[name],
            {
                kinds.names.index(group.behaviour): (
                    group.indices,
                    tuple(group.amounts(strength * group.dose).tolist()),
                )
                for group in by_coder[name].values()
            },
        )
        for name in ordered[:CODERS]
        for strength in strengths
    ]


def tuning_problems(context: StageContext, n: int) -> ProblemSet:
    """Problems of the tuning split that are no evaluation problems. Raises DataError where none is left."""
    drawn = load_task(context.problems.task, n=n, seed=context.seed, split="tuning")
    evaluated = {problem.prompt for problem in context.problems}
    unused = [problem for problem in drawn if problem.prompt not in evaluated]
    if not unused:
        raise DataError(f"all {n} tuning problems are evaluation problems", do="evaluate on another split")
    return ProblemSet(unused, task=drawn.task, environment=drawn.environment)


def tune_clamp(
    context: StageContext,
    ingredients: Ingredients,
    notes: Notes,
    *,
    strengths: Sequence[float],
    n: int,
) -> ClampedGroups:
    """The clamp that answers most of `n` tuning problems in the arm `clamp`; one that runs away is refused.

    The first that answers as many as the thinking model is taken at once: it cannot be beaten. What was
    chosen, and what was refused, is noted.

    Raises:
        DataError: there is nothing to clamp, or every clamp runs away.
    """
    options = clamped_groups(context, ingredients.kinds, strengths)
    problems = tuning_problems(context, n)

    def write(writer: Host | Decoder) -> tuple[float, Lengths]:
        rollouts = generate(writer, problems, decode=context.decode, progress=False)
        return float(np.mean(grade(rollouts))), Lengths.of(rollouts)

    (_, base), (goal, thinking) = write(context.pair.base), write(context.pair.thinking)
    fit: list[TunedClamp] = []
    refused: list[TunedClamp] = []
    for option in options:
        executor = option.executor(context.pair.base, len(ingredients.kinds.names))
        tuned = TunedClamp(option, *write(hybrid_from_config(replace(ingredients, clamp=executor), CLAMPED)))
        (refused if tuned.lengths.runs_away((base, thinking)) else fit).append(tuned)
        if fit and fit[-1].accuracy >= goal:
            break
    if not fit:
        raise DataError(
            f"every clamp runs away on {len(problems)} tuning problems ({'; '.join(map(str, refused))}; "
            f"unsteered: {base}; {thinking})",
            do="give stage `arms` smaller clamp_strengths, or leave the arm `clamp` out",
        )
    best = max(fit, key=lambda tuned: tuned.accuracy)
    notes.add_remark(f"clamp, the best of {len(options)} on {len(problems)} tuning problems: {best}")
    for tuned in refused:
        notes.add_remark(f"a clamp that runs away on the tuning problems was refused: {tuned}")
    return best.groups


def without_clamp(context: StageContext, chosen: ClampedGroups) -> dict[str, Cause]:
    """Behaviours that were to have a group and are not clamped, each with the reason."""
    ledger = context.ledger_of("groups")
    none = f"none of its groups in {chosen.name} does more than matched random features"
    return {
        behaviour: ledger.cause("group", behaviour) or Cause("DataError", none)
        for behaviour in ledger.planned("group")
        if behaviour not in chosen.behaviours
    }
