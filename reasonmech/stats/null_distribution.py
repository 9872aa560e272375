"""An arm among draws of its null: its rank, the null's upper quantile, and how far it lies above them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final, final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.stats.bounded import SHARE, Bounds, check_bounds, difference_bounds
from reasonmech.stats.checks import as_numbers, check_finite
from reasonmech.stats.intervals import LEVEL, Interval, mean_interval
from reasonmech.stats.problems import by_problem, check_two_problems

QUANTILE: Final = 0.95


@final
@dataclass(frozen=True, eq=False)
class NullDistribution:
    """Where an arm lies among draws of its null.

    Attributes:
        arm: mean over problems of the arm.
        draws: [draw] means over the same problems, one of each draw of the null, rising.
        p: (1 + draws that reach the arm) / (1 + draws): the arm is one of the draws where the null holds, so
            p <= x in a share x of cases at most (Phipson and Smyth 2010).
        smallest_p: what p would be if no draw reached the arm: 1 / (1 + draws).
        quantile: the null's 95 % quantile, with the 95 % interval of order statistics, over draws. NaN where
            there are fewer than 19 draws, an end infinite where they are too few for it (72 have both):
            nothing is extrapolated.
        above: arm - mean of the draws, over problems, with its interval by problem.
        spread: standard deviation between the draws.
    """

    arm: float
    draws: Float[np.ndarray, " draw"]
    p: float
    smallest_p: float
    quantile: Interval
    above: Interval
    spread: float

    @property
    def n(self) -> int:
        """How many draws there are."""
        return len(self.draws)

    @property
    def share_below(self) -> float:
        """Share of the draws that the arm exceeds: its own quantile among them."""
        return float((self.draws < _threshold(self.arm)).mean())

    def __repr__(self) -> str:
        return f"NullDistribution({self})"

    def __str__(self) -> str:
        return (
            f"above {self.share_below:.0%} of {self.n} draws, p {self.p:.3g} (smallest attainable "
            f"{self.smallest_p:.3g}); the null's {QUANTILE:.0%} quantile: {self.describe_quantile()}"
        )

    def describe_quantile(self) -> str:
        """The null's upper quantile in words: what a number of draws can say of it."""
        estimate, low, high, _ = self.quantile
        if np.isnan(estimate):
            return f"not estimable with {self.n} draws ({draws_needed()} have an estimate)"
        upper = f"{high:.3g}" if np.isfinite(high) else f"not estimable with {self.n} draws"
        lower = f"{low:.3g}" if np.isfinite(low) else f"not estimable with {self.n} draws"
        return f"{estimate:.3g} [{lower}, {upper}]"


@checked
def null_distribution(
    arm: ArrayLike, null: ArrayLike, *, bounds: Bounds | None = SHARE, level: float = LEVEL
) -> NullDistribution:
    """Compare an arm with draws of its null on the same problems: one random vector is no null, 20 are.

    The statistic is the mean over problems. A recovery with the same base and thinking model has the same
    rank; its quantile is (quantile - base) / (thinking - base).

    Args:
        arm: [problem] or [problem, sample].
        null: [draw, problem] or [draw, problem, sample]: each draw with a seed of its own, at its own best
            dose, on the arm's problems in its order.
        bounds: what the values can be; None where there are no bounds.
        level: of the intervals.

    Raises:
        ArgumentError: something that is no array of numbers, bounds that are none.
        DataError: fewer than two problems, no draw, draws on other problems, a value outside of the bounds.
        NonFiniteError: a value is NaN or infinite.
    """
    values, drawn = by_problem(arm), as_numbers(null, name="null")
    check_finite(drawn, name="values of the null")
    if drawn.ndim not in (2, 3) or not drawn.size or drawn.shape[1] != len(values):
        raise DataError(
            f"a null of shape {drawn.shape} for {len(values)} problems",
            allowed="[draw, problem] or [draw, problem, sample], at least one draw",
            do="score every draw on the arm's problems, in one order",
        )
    check_two_problems(len(values))
    each = drawn.reshape(*drawn.shape[:2], -1).mean(2)
    check_bounds(bounds, arm=values, null=each.ravel())
    means, estimate = np.sort(each.mean(1)), float(values.mean())
    n = len(means)
    above = mean_interval(
        values - each.mean(0), bounds=None if bounds is None else difference_bounds(bounds), level=level
    )
    return NullDistribution(
        arm=estimate,
        draws=means,
        p=float((1 + (means >= _threshold(estimate)).sum()) / (1 + n)),
        smallest_p=1 / (1 + n),
        quantile=_quantile(means, level),
        above=above,
        spread=float(means.std(ddof=1)) if n > 1 else float("nan"),
    )


def draws_needed(*, quantile: float = QUANTILE) -> int:
    """The fewest draws whose largest is an estimate of a quantile: it lies below with chance n / (n + 1)."""
    return ceil(quantile / (1 - quantile) - 1e-9)


def _quantile(rising: Float[np.ndarray, " draw"], level: float) -> Interval:
    """The quantile by order statistics: the k-th of n draws exceeds it with a binomial chance."""
    n = len(rising)
    if n < draws_needed():
        return Interval(float("nan"), -np.inf, np.inf, level)
    estimate = rising[ceil(QUANTILE * (n + 1) - 1e-9) - 1]
    below = scipy_stats.binom(n, QUANTILE)  # how many draws are below the quantile
    tail = (1 - level) / 2
    # the k-th smallest exceeds the quantile where fewer than k are below it, and misses it otherwise
    first = int(below.ppf(tail))  # P(below < first) <= tail: the first-th smallest is not above it
    last = int(below.isf(tail)) + 1  # P(below >= last) <= tail: the last-th smallest is not below it
    low = float(rising[first - 1]) if first >= 1 else -np.inf
    high = float(rising[last - 1]) if last <= n else np.inf
    return Interval(float(estimate), low, high, level)


def _threshold(value: float) -> float:
    """A draw may equal the arm but for the order of summation: then it counts as reaching it."""
    return value - 1e-9 * max(1.0, abs(value))
