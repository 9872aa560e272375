"""Recovery: the share of the gap between base and thinking model that an arm closes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from reasonmech.door import checked
from reasonmech.stats.checks import check_level
from reasonmech.stats.intervals import DRAWS, LEVEL, Interval, check_draws, tails
from reasonmech.stats.problems import bootstrap_weights, check_two_problems, same_problems


class Recovery(NamedTuple):
    """Share of the gap (thinking - base) that an arm recovers: signed, never clipped.

    Attributes:
        low, high: paired bootstrap interval; -inf and inf when `unbounded`.
        gap: interval of thinking - base, in the metric's unit.
        unbounded: the gap's interval covers 0, so the ratio has no finite interval.
        weak: the gap is at most 4 standard errors: print the gap, not the recovery.
    """

    estimate: float
    low: float
    high: float
    level: float
    gap: Interval
    unbounded: bool
    weak: bool

    def __str__(self) -> str:
        interval = "unbounded" if self.unbounded else f"{self.low:.1%}, {self.high:.1%}"
        return f"{self.estimate:.1%} [{interval}]"


@checked
def recovery(
    base: ArrayLike,
    thinking: ArrayLike,
    arm: ArrayLike,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Recovery:
    """(arm - base) / (thinking - base), problems resampled jointly; signed and never clipped.

    An arm below the base is negative, one above the thinking model exceeds 1.

    Args:
        base, thinking, arm: on the same problems, [problem] or [problem, sample].

    Raises:
        ArgumentError: something that is no array of numbers.
        DataError: fewer than two problems, numbers of problems that differ, no draw, a level outside (0, 1).
        NonFiniteError: a value is NaN or infinite.
    """
    check_level(level)
    check_draws(draws)
    low_arm, high_arm = same_problems(base, thinking)
    low_arm, middle = same_problems(low_arm, arm)
    check_two_problems(len(low_arm))
    gain, gap = middle - low_arm, high_arm - low_arm
    pair = np.stack([gain, gap], axis=1)
    # Gain and gap of a draw are of the same problems: an arm equal to the thinking model is 1 in every draw.
    means = np.concatenate([w @ pair for w in bootstrap_weights(len(pair), draws, seed)]) / len(pair)
    gap_low, gap_high = np.quantile(means[:, 1], tails(level))
    interval = Interval(float(gap.mean()), float(gap_low), float(gap_high), level)
    unbounded = interval.covers(0.0)
    low, high = (-np.inf, np.inf) if unbounded else np.quantile(means[:, 0] / means[:, 1], tails(level))
    estimate = float(gain.mean() / gap.mean()) if gap.mean() != 0 else float("nan")
    weak = bool(abs(gap.mean()) <= 4 * gap.std(ddof=1) / np.sqrt(len(gap)))
    return Recovery(estimate, float(low), float(high), level, interval, unbounded, weak)
