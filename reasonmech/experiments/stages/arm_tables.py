"""What the arms of a run did: outcomes, and the rows, notes and texts that are written of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from reasonmech.experiments.ledger import Cause
from reasonmech.experiments.stages.base import Notes, StageContext
from reasonmech.experiments.stages.lengths import Lengths
from reasonmech.experiments.tables import Condition, Counts
from reasonmech.hybrid import percent_steered
from reasonmech.rollout import Rollouts
from reasonmech.stats import SHARE, mean_interval, recovery
from reasonmech.tasks import grade, parse

REFERENCES: Final = ("base", "thinking")  # recovery is measured between these two


@dataclass(frozen=True, eq=False)
class ArmOutcome:
    """What one arm did.

    Attributes:
        correct: [problem] share of right answers.
    """

    condition: Condition
    rollouts: Rollouts
    correct: np.ndarray


def missing_arms(context: StageContext) -> dict[str, Cause]:
    """Arms that the stage `arms` was asked for and could not run, each with the reason."""
    ledger = context.ledger_of("arms")
    causes = {name: ledger.cause("arm", name) for name in ledger.planned("arm")}
    return {name: cause.of_item(f"arm {name}") for name, cause in causes.items() if cause is not None}


def _share_equal(outcome: ArmOutcome, base: ArmOutcome) -> float:
    """Share of rollouts whose tokens are those of the base."""
    return float(np.mean([a.ids == b.ids for a, b in zip(outcome.rollouts, base.rollouts, strict=True)]))


def arm_notes(outcomes: Mapping[str, ArmOutcome]) -> Notes:
    """Arms that change no text, arms that run away, and a gap too small to be shared out."""
    base, thinking, notes = outcomes["base"], outcomes["thinking"], Notes()
    for name, outcome in outcomes.items():
        if name not in REFERENCES and _share_equal(outcome, base) == 1:
            notes.add_remark(
                f"arm {name} writes what the base writes on every problem: it is alive in its dose, "
                "not in its outcome"
            )
    unsteered = [Lengths.of(base.rollouts), Lengths.of(thinking.rollouts)]
    for name, outcome in outcomes.items():
        if (lengths := Lengths.of(outcome.rollouts)).runs_away(unsteered):
            notes.add_remark(f"arm {name} runs away: {lengths}; unsteered: {unsteered[0]}; {unsteered[1]}")
    gap = recovery(base.correct, thinking.correct, thinking.correct)
    if gap.weak:
        notes.add_remark(
            f"the gap is {gap.gap.estimate:+.3f}, at most 4 standard errors: read the gap, not the recovery"
        )
    return notes


def arm_tables(outcomes: Mapping[str, ArmOutcome], ordered: Sequence[ArmOutcome]) -> list[pd.DataFrame]:
    """Accuracy, recovery and share of steered tokens of every arm, as rows of the run's long table."""
    base, thinking = outcomes["base"].correct, outcomes["thinking"].correct
    tables = []
    for outcome in ordered:
        condition, rollouts = outcome.condition, outcome.rollouts
        steered = percent_steered(rollouts)
        counts = Counts(sum(len(r.ids) for r in rollouts), steered.chosen, steered.steered, None)
        tables.append(
            condition.rows(
                "accuracy",
                [float(value) for value in grade(rollouts)],
                unit="share",
                problems=[r.problem.id for r in rollouts],
                samples=[r.sample for r in rollouts],
            )
        )
        interval = mean_interval(outcome.correct, bounds=SHARE)
        numbers = {
            "accuracy": interval.estimate,
            "accuracy.low": interval.low,
            "accuracy.high": interval.high,
        }
        if condition.name not in REFERENCES:
            share = recovery(base, thinking, outcome.correct)
            numbers |= {"recovery": share.estimate, "recovery.low": share.low, "recovery.high": share.high}
        numbers |= {
            "percent_steered": steered.share,
            "rows_equal_base": _share_equal(outcome, outcomes["base"]),
            "eos_rate": float(np.mean([r.stop == "eos" for r in rollouts])),
        }
        tables += [
            condition.rows(metric, [value], unit="share", counts=counts) for metric, value in numbers.items()
        ]
        tables.append(condition.rows("steered_per_problem", [steered.steered / len(rollouts)], unit="tokens"))
        tables.append(
            condition.rows("mean_length", [float(np.mean([len(r.ids) for r in rollouts]))], unit="tokens")
        )
    return tables


def generation_rows(outcome: ArmOutcome) -> list[dict[str, object]]:
    """Lines of generations.jsonl: ids, text, spans, stop reason, and who wrote which token."""
    rows = []
    for rollout, trace, correct in zip(
        outcome.rollouts, parse(outcome.rollouts), grade(outcome.rollouts), strict=True
    ):
        rows.append(
            {
                "host": outcome.condition.host,
                "condition": outcome.condition.name,
                "problem": rollout.problem.id,
                "sample": rollout.sample,
                "prompt": rollout.problem.prompt,
                "text": rollout.text,
                "ids": rollout.ids,
                "by_environment": [t for t, flag in enumerate(rollout.by_environment) if flag],
                "steered": [t for t, flag in enumerate(rollout.steered) if flag],
                "spans": [{"kind": s.kind, "start": s.start, "stop": s.stop} for s in trace.sentences],
                "stop": rollout.stop,
                "correct": bool(correct),
            }
        )
    return rows
