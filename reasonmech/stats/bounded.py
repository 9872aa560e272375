"""Means and ratios of bounded values: problems reweighted, with one more at the worst place that is possible.

A sample in which an arm never fails has no spread, and a bootstrap of it is a point. Here a sample of n
problems has n + 1 weights, Dirichlet(1, ..., 1): the n of the Bayesian bootstrap (Rubin 1981), and one of a
problem that was not seen, put where it does most against the end that is sought: at the lower bound for the
lower end, at the upper one for the upper end. Of two-valued samples this is the Clopper-Pearson interval; of
differences in {-1, 0, 1} it excludes 0 exactly where McNemar's exact test rejects; of any other it is
Gaffke's bound (2005; found again by Learned-Miller and Thomas 2019, arXiv 1905.06208). That this covers for
every distribution within the bounds is a conjecture of theirs; tests measure it for those met here.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from reasonmech.arguments import describe
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, DataError
from reasonmech.stats.checks import as_numbers

Bounds = tuple[float, float]

SHARE: Final[Bounds] = (0.0, 1.0)
"""What a share of right answers can be."""

CONTRAST: Final[Bounds] = (-1.0, 1.0)
"""What a difference of two shares can be."""

_CHUNK: Final = 4_000_000  # weights that are held in memory at once: 32 MB
_SLACK: Final = 1e-5  # probabilities of float32, and means of them, leave the bounds by rounding


class Reweighted(NamedTuple):
    """Draws of weighted sums over the problems seen, whose weights add up to 1 - `unseen`.

    Attributes:
        sums: [draw, column].
        unseen: [draw], the weight of the problem that was not seen.
    """

    sums: Float[np.ndarray, "draw column"]
    unseen: Float[np.ndarray, " draw"]


def check_bounds(bounds: Bounds | None, **columns: np.ndarray) -> None:
    """Refuse bounds that are none, and values outside of them.

    Raises:
        ArgumentError: not None, and not two numbers.
        DataError: they do not rise, or a value lies outside.
    """
    if bounds is None:
        return
    allowed = "(low, high): what a value can be, such as (0, 1) for a share; or None, where there is no bound"
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ArgumentError(f"bounds is {describe(bounds)}", allowed=allowed)
    low, high = as_numbers(list(bounds), name="bounds")
    if not (np.isfinite([low, high]).all() and low < high):
        raise DataError(f"bounds {bounds}", allowed=allowed)
    for name, column in columns.items():
        outside = column[(column < low - _SLACK) | (column > high + _SLACK)]
        if outside.size:
            raise DataError(
                f"{outside.size} of {column.size} values of {name} outside of [{low:g}, {high:g}], "
                f"{outside[0]:g} the first",
                allowed="values within the bounds",
                do="give the bounds that they have: bounds=(low, high), or bounds=None where there are none",
            )


@checked
def bounds_of(unit: str) -> Bounds | None:
    """What a value can be by its unit: a share or a probability is within [0, 1]; None for any other unit."""
    return SHARE if unit in ("share", "share right", "probability") else None


def difference_bounds(bounds: Bounds) -> Bounds:
    """What the difference of two values within `bounds` can be."""
    return bounds[0] - bounds[1], bounds[1] - bounds[0]


def reweight(columns: Float[np.ndarray, "problem column"], *, draws: int, seed: int) -> Reweighted:
    """Draws of Dirichlet(1, ..., 1) weights of n problems and of one more.

    Problems that are equal share a weight (a gamma variate whose shape is their number), so that many
    problems with few values cost little; the order of the problems changes nothing.
    """
    rows, counts = np.unique(columns, axis=0, return_counts=True)
    if (len(columns) + 1) * draws <= _CHUNK:
        # Weights are the gaps between arrivals, and that of equal problems the gap from first to last. Their
        # weighted sum, by parts: what an arrival is the last of, less what it is the first of.
        arrivals = _arrivals(len(columns), draws, seed)
        ends, total = arrivals[counts.cumsum() - 1], arrivals[-1]
        steps = rows - np.append(rows[1:], np.zeros_like(rows[:1]), axis=0)
        return Reweighted((steps.T @ ends / total).T, 1.0 - ends[-1] / total)
    shape = np.append(counts, 1).astype(np.float64)
    rng = np.random.default_rng(seed)
    sums, unseen = [], []
    step = max(1, _CHUNK // len(shape))
    for start in range(0, draws, step):
        weights = rng.standard_gamma(shape, (min(step, draws - start), len(shape)))
        weights /= weights.sum(1, keepdims=True)
        sums.append(weights[:, :-1] @ rows)
        unseen.append(weights[:, -1])
    return Reweighted(np.concatenate(sums), np.concatenate(unseen))


@lru_cache(maxsize=2)
def _arrivals(n: int, draws: int, seed: int) -> Float[np.ndarray, "problem draw"]:
    """Arrival times of n + 1 problems, sums of standard exponentials, in every draw."""
    waits = np.random.default_rng(seed).standard_exponential((n + 1, draws))
    return waits.cumsum(axis=0)


def mean_draws(
    values: Float[np.ndarray, " problem"], bounds: Bounds, *, draws: int, seed: int
) -> Float[np.ndarray, "end draw"]:
    """Draws of the mean with the unseen problem at the lower bound, and with it at the upper one."""
    sums, unseen = reweight(values[:, None], draws=draws, seed=seed)
    return sums[:, 0] + unseen * np.array(bounds)[:, None]


def mean_ends(
    values: Float[np.ndarray, " problem"], bounds: Bounds, level: float, *, draws: int, seed: int
) -> tuple[float, float]:
    """Ends of the mean. Of problems that are all alike they are exact, without a draw: the weight of the
    unseen problem beside n others is Beta(1, n), whose quantiles are 1 - (1 - q)^(1 / n).
    """
    if values.min() == values.max():
        value, unseen = float(values[0]), 1.0 - ((1.0 - level) / 2) ** (1.0 / len(values))
        return value + (bounds[0] - value) * unseen, value + (bounds[1] - value) * unseen
    lowest, highest = mean_draws(values, bounds, draws=draws, seed=seed)
    return quantiles(lowest, highest, level)


def quantiles(
    lowest: Float[np.ndarray, " draw"], highest: Float[np.ndarray, " draw"], level: float
) -> tuple[float, float]:
    """The two ends at `level`: a quantile of either, to the outer one of two draws."""
    low = np.quantile(lowest, (1 - level) / 2, method="lower")
    high = np.quantile(highest, (1 + level) / 2, method="higher")
    return float(low), float(high)


class RatioEnds(NamedTuple):
    """Ends of a ratio and of its denominator; the ratio's are infinite where the denominator's hold 0."""

    low: float
    high: float
    denominator_low: float
    denominator_high: float

    @property
    def unbounded(self) -> bool:
        """Whether the denominator may be 0, so that the ratio may be anything."""
        return self.denominator_low <= 0 <= self.denominator_high


def ratio_ends(reweighted: Reweighted, corners: Float[np.ndarray, "corner 2"], level: float) -> RatioEnds:
    """Ends of mean(first column) / mean(second column).

    r is kept where the interval of the mean of first - r second holds 0 (Fieller 1954, with the interval of
    this module for that of the normal distribution). In a draw the kept ones begin at the smallest ratio
    that an unseen problem can make of the weighted sums, and end at the largest.

    Args:
        corners: the extreme problems that are possible, as (first, second).
    """
    sums, unseen = reweighted
    below = sums[:, 1] + unseen * corners[:, 1].min()
    above = sums[:, 1] + unseen * corners[:, 1].max()
    ends = quantiles(below, above, level)
    if ends[0] <= 0 <= ends[1]:
        return RatioEnds(-np.inf, np.inf, *ends)
    # [draw, corner, column]; the sign of the denominator is known, that of both is turned to make it positive
    sign = 1.0 if ends[0] > 0 else -1.0
    extreme = sign * (sums[:, None] + unseen[:, None, None] * corners)
    is_positive = (extreme[..., 1] > 0).all(1)  # in the others, fewer than in the tail, any r is kept
    ratios = extreme[is_positive, :, 0] / extreme[is_positive, :, 1]
    lowest, highest = np.full(len(sums), -np.inf), np.full(len(sums), np.inf)
    lowest[is_positive], highest[is_positive] = ratios.min(1), ratios.max(1)
    return RatioEnds(*quantiles(lowest, highest, level), *ends)


def corners_of(coefficients: ArrayLike, bounds: Bounds) -> Float[np.ndarray, "corner contrast"]:
    """Contrasts of every problem whose cells are all at one of the bounds.

    Args:
        coefficients: [contrast, cell], as a contrast weighs the cells.
    """
    weights = np.asarray(coefficients, dtype=np.float64)
    cells = np.array(list(product(bounds, repeat=weights.shape[1])))
    return np.unique(cells @ weights.T, axis=0)
