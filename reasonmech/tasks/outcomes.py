"""AnswerOutcomes: what became of each answer, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, final, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool

from reasonmech.door import checked
from reasonmech.rollout import Rollouts
from reasonmech.stats import SHARE, mean_interval
from reasonmech.tasks.base import GradesByOutcome, Outcome, grade, task_of

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)


@checked
@final
@dataclass(frozen=True)
class AnswerOutcomes:
    """What became of every rollout's answer.

    Attributes:
        task: who says so.
        each: per rollout: "right"; "wrong"; "unparsed", where no answer can be read; "timeout", where
            comparing it did not come to an end; "truncated", where the text was cut off.
        problems: per rollout the id of its problem, the unit of the intervals.
    """

    task: str
    each: tuple[Outcome, ...]
    problems: tuple[str, ...]

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {n}" for name, n in self.counts.items())
        return f"AnswerOutcomes({len(self.each)} rollouts of task {self.task!r}: {counts})"

    def __len__(self) -> int:
        return len(self.each)

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many of each, those that never happened too."""
        counted = Counter(self.each)
        return {name: counted[name] for name in OUTCOMES}

    @property
    def right(self) -> Bool[np.ndarray, " rollout"]:
        """What `rm.grade` says."""
        return np.array([outcome == "right" for outcome in self.each], dtype=bool)

    def table(self) -> pd.DataFrame:
        """A row per outcome: rollouts, share, and its 95 % interval over problems (NaN for one problem that
        was answered differently)."""
        rows = []
        for name, n in self.counts.items():
            hits = np.array([outcome == name for outcome in self.each], dtype=float)
            share = float(hits.mean()) if len(hits) else np.nan
            low = high = np.nan
            if len(set(self.problems)) > 1 or share in (0.0, 1.0):
                interval = mean_interval(hits, self.problems, bounds=SHARE)
                low, high = interval.low, interval.high
            rows.append({"outcome": name, "rollouts": n, "share": share, "low": low, "high": high})
        return pd.DataFrame(rows)


def outcomes(rollouts: Rollouts) -> AnswerOutcomes:
    """What became of each answer, by the task's own grader.

    A task with a grammar tells right, wrong and truncated; one of questions also what could not be read or
    compared.

    Raises:
        As `rm.grade` does.
    """
    task = task_of(rollouts)
    each = task.outcomes(rollouts) if isinstance(task, GradesByOutcome) else _of_grades(rollouts)
    return AnswerOutcomes(rollouts.task, tuple(each), tuple(rollout.problem.id for rollout in rollouts))


def _of_grades(rollouts: Rollouts) -> list[Outcome]:
    return [
        "right" if right else "truncated" if rollout.stop == "length" else "wrong"
        for rollout, right in zip(rollouts, grade(rollouts), strict=True)
    ]
