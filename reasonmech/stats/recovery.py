"""Recovery: the share of the gap between base and thinking model that an arm closes."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from reasonmech.door import checked
from reasonmech.stats.bounded import (
    SHARE,
    Bounds,
    RatioEnds,
    check_bounds,
    corners_of,
    ratio_ends,
    reweight,
)
from reasonmech.stats.checks import check_level
from reasonmech.stats.intervals import DRAWS, LEVEL, Interval, tails
from reasonmech.stats.problems import bootstrap_weights, check_two_problems, same_problems


class Recovery(NamedTuple):
    """Share of the gap (thinking - base) that an arm recovers: signed, never clipped.

    Attributes:
        low, high: -inf and inf when `unbounded`.
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


# of the cells (base, thinking, arm)
GAIN_AND_GAP: Final = ((-1, 0, 1), (-1, 1, 0))


@checked
def recovery(
    base: ArrayLike,
    thinking: ArrayLike,
    arm: ArrayLike,
    *,
    bounds: Bounds | None = SHARE,
    seed: int = 0,
    level: float = LEVEL,
) -> Recovery:
    """(arm - base) / (thinking - base), problems weighted jointly; signed and never clipped.

    An arm below the base is negative, one above the thinking model exceeds 1. An arm that did on every
    problem what the thinking model did recovers 100 % of these problems, not of all: with bounds the interval
    is that of `stats.bounded`, one unseen problem being at its worst (all three right or wrong as hurts
    most). Without, the percentile bootstrap.

    Args:
        base, thinking, arm: on the same problems, [problem] or [problem, sample].
        bounds: what the three can be; None where there are no bounds.

    Raises:
        ArgumentError: something that is no array of numbers, bounds that are none.
        DataError: fewer than two problems, numbers of problems that differ, a value outside of the bounds, a
            level outside (0, 1).
        NonFiniteError: a value is NaN or infinite.
    """
    check_level(level)
    low_arm, high_arm = same_problems(base, thinking)
    low_arm, middle = same_problems(low_arm, arm)
    check_two_problems(len(low_arm))
    check_bounds(bounds, base=low_arm, thinking=high_arm, arm=middle)
    columns = np.stack([middle - low_arm, high_arm - low_arm], axis=1)
    if bounds is None:
        ends = _bootstrap_ends(columns, seed, level)
    else:
        corners = corners_of(GAIN_AND_GAP, bounds)
        ends = ratio_ends(reweight(columns, draws=DRAWS, seed=seed), corners, level)
    gain, gap = (float(mean) for mean in columns.mean(0))
    interval = Interval(gap, ends.denominator_low, ends.denominator_high, level)
    weak = bool(abs(gap) <= 4 * columns[:, 1].std(ddof=1) / np.sqrt(len(columns)))
    estimate = gain / gap if gap != 0 else float("nan")
    return Recovery(estimate, ends.low, ends.high, level, interval, ends.unbounded, weak)


def _bootstrap_ends(columns: Float[np.ndarray, "problem 2"], seed: int, level: float) -> RatioEnds:
    """Of a draw, gain and gap are of the same problems: an arm equal to the thinking model is 1 in each."""
    means = np.concatenate([w @ columns for w in bootstrap_weights(len(columns), DRAWS, seed)]) / len(columns)
    gap = tuple(float(end) for end in np.quantile(means[:, 1], tails(level)))
    if gap[0] <= 0 <= gap[1]:
        return RatioEnds(-np.inf, np.inf, *gap)
    low, high = np.quantile(means[:, 0] / means[:, 1], tails(level))
    return RatioEnds(float(low), float(high), *gap)
