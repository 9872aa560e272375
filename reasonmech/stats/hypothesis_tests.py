"""Tests over problems and corrections for many of them: McNemar, equivalence, BH, Holm, max-T."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.stats.bounded import SHARE, Bounds, check_bounds, difference_bounds, mean_draws, mean_ends
from reasonmech.stats.checks import as_labels, as_numbers, check_finite, check_lengths
from reasonmech.stats.intervals import DRAWS
from reasonmech.stats.problems import check_two_problems, same_problems


class McNemar(NamedTuple):
    """Discordant pairs and the exact two-sided p-value of their symmetry."""

    only_a: int
    only_b: int
    p: float


class Equivalence(NamedTuple):
    """Whether a difference lies within a margin.

    Attributes:
        low, high: the (1 - 2 alpha) interval of the difference.
        p: the smallest alpha at which that interval lies inside +-margin; exact where all problems agree.
        equivalent: whether it does.
        n_needed: the fewest problems that can show it at all, every one of them without a difference.
    """

    estimate: float
    low: float
    high: float
    p: float
    equivalent: bool
    n_needed: int

    def __str__(self) -> str:
        verdict = "equivalent" if self.equivalent else "not shown to be equivalent"
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]: {verdict}, p {self.p:.2g}"


def mcnemar(a: ArrayLike, b: ArrayLike) -> McNemar:
    """Exact test that two arms are right equally often: the binomial test of the discordant pairs.

    Args:
        a, b: [problem], whether each arm's one rollout is right.

    Raises:
        ArgumentError: something other than true and false.
        DataError: numbers of problems that differ.
    """
    first, second = as_labels(a, name="a"), as_labels(b, name="b")
    check_lengths(a=first, b=second)
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    p = scipy_stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return McNemar(only_a, only_b, float(p))


@checked
def tost(
    a: ArrayLike,
    b: ArrayLike,
    *,
    margin: float,
    problems: ArrayLike | None = None,
    alpha: float = 0.05,
    bounds: Bounds | None = SHARE,
) -> Equivalence:
    """Is a - b within +-margin? Whether its (1 - 2 alpha) interval is (Schuirmann 1987).

    A difference that is not significant may be large; this test asks for precision. With bounds the interval
    is that of `paired_bootstrap`, so that problems which all agree are no proof: three of them say nothing
    of a margin of 0.05, for which at least 59 are needed. Without, two one-sided paired t-tests, which
    hold their level for differences that are about normal, and for no others.

    Args:
        a, b: the two arms on the same problems: [problem], [problem, sample], or [row] together with
            `problems`.
        margin: the largest difference that does not matter, in the unit of a and b.
        bounds: what a and b can be; None where there are no bounds.

    Raises:
        ArgumentError: something that is no array of numbers, bounds that are none.
        DataError: fewer than two problems, numbers of problems that differ, a margin of 0 or less, an alpha
            outside (0, 0.5), a value outside of the bounds; without bounds, differences that are all equal.
        NonFiniteError: a value is NaN or infinite.
    """
    if not (margin > 0 and 0 < alpha < 0.5):
        raise DataError(f"margin {margin}, alpha {alpha}", allowed="margin > 0, 0 < alpha < 0.5")
    first, second = same_problems(a, b, problems)
    check_two_problems(len(first))
    check_bounds(bounds, a=first, b=second)
    difference = first - second
    if bounds is None:
        return _two_t_tests(difference, margin, alpha)
    limits = difference_bounds(bounds)
    lowest, highest = mean_draws(difference, limits, draws=DRAWS, seed=0)
    low, high = mean_ends(difference, limits, 1 - 2 * alpha, draws=DRAWS, seed=0)
    p = float((1 + max((lowest <= -margin).sum(), (highest >= margin).sum())) / (1 + DRAWS))
    if (
        difference.min() == difference.max()
    ):  # the ends are exact, and so is the alpha at which they are inside
        p = _exact_p(float(difference[0]), limits, margin, len(difference))
    return Equivalence(
        estimate=float(difference.mean()),
        low=low,
        high=high,
        p=p,
        equivalent=-margin < low and high < margin,
        n_needed=fewest_problems(margin / limits[1], alpha=alpha),
    )


@checked
def fewest_problems(margin: float, *, alpha: float = 0.05) -> int:
    """The fewest problems, all without a difference, whose (1 - 2 alpha) interval lies inside +-margin.

    Of n problems that all agree the upper end is 1 - alpha^(1/n) (Clopper and Pearson 1934).

    Args:
        margin: as a share of the largest possible difference.

    Raises:
        DataError: a margin of 0 or less, an alpha outside (0, 0.5).
    """
    if not (margin > 0 and 0 < alpha < 0.5):
        raise DataError(f"margin {margin}, alpha {alpha}", allowed="margin > 0, 0 < alpha < 0.5")
    return 2 if margin >= 1 else max(2, int(np.log(alpha) / np.log1p(-margin)) + 1)


def _exact_p(value: float, limits: Bounds, margin: float, n: int) -> float:
    """The smallest alpha at which both ends of n problems that all have this value lie inside +-margin.

    The unseen problem's weight has the (1 - alpha) quantile 1 - alpha^(1/n): the ends of `mean_ends`.
    """
    chances = []
    for room, reach in ((value + margin, value - limits[0]), (margin - value, limits[1] - value)):
        allowed = 1.0 if reach == 0 else min(room / reach, 1.0)  # weight up to which the end stays inside
        chances.append(1.0 if room <= 0 else (1.0 - allowed) ** n)
    return float(max(chances))


def _two_t_tests(difference: np.ndarray, margin: float, alpha: float) -> Equivalence:
    n, mean = len(difference), float(difference.mean())
    error = float(difference.std(ddof=1) / np.sqrt(n))
    if error == 0:
        raise DataError(
            f"all {n} problems differ by {mean:g}: a t-test of equal values has no error",
            do="give the bounds of the values, bounds=(0, 1) for shares: then n problems say what they can",
        )
    student = scipy_stats.t(n - 1)
    p = float(max(student.sf((mean + margin) / error), student.cdf((mean - margin) / error)))
    half = float(student.ppf(1 - alpha)) * error
    return Equivalence(mean, mean - half, mean + half, p, p < alpha, 2)


def bh(p: ArrayLike) -> Float[np.ndarray, " test"]:
    """Benjamini-Hochberg adjusted p-values, by scipy: for discovery.

    Raises:
        ArgumentError: something that is no array of numbers.
        DataError: a p-value outside [0, 1].
        NonFiniteError: a p-value is NaN.
    """
    return scipy_stats.false_discovery_control(_as_p_values(p))


def holm(p: ArrayLike) -> Float[np.ndarray, " test"]:
    """Holm (1979) adjusted p-values: for confirmation.

    Raises:
        ArgumentError: something that is no array of numbers.
        DataError: a p-value outside [0, 1].
        NonFiniteError: a p-value is NaN.
    """
    values = _as_p_values(p)
    order = np.argsort(values)
    # The i-th smallest times the number of those that are left, never below its predecessor.
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)).clip(max=1.0)
    adjusted = np.empty_like(stepped)
    adjusted[order] = stepped
    return adjusted


def max_t(observed: ArrayLike, null: ArrayLike) -> Float[np.ndarray, " test"]:
    """Single-step max-T p-values (Westfall and Young 1993), two-sided.

    Args:
        observed: [test].
        null: [draw, test], the statistics of every draw under the null hypothesis; or [draw, 1], the largest.

    Raises:
        ArgumentError: something that is no array of numbers.
        DataError: shapes that do not fit.
    """
    statistics, draws = as_numbers(observed, name="observed"), as_numbers(null, name="null")
    if draws.ndim != 2 or statistics.ndim != 1 or not draws.size:
        raise DataError(
            f"observed of shape {statistics.shape} against null of shape {draws.shape}",
            allowed="observed [test], null [draw, test] (or [draw, 1]), at least one draw",
        )
    highest = np.sort(np.abs(draws).max(1))
    # A draw may equal what was observed but for the order of summation: then it counts as reaching it.
    threshold = np.abs(statistics) * (1 - 1e-9)
    exceeding = len(highest) - np.searchsorted(highest, threshold, side="left")
    # Plus one: what was observed is itself one of the draws, so no p-value is 0 (Phipson and Smyth 2010).
    return (1 + exceeding) / (1 + len(highest))


def _as_p_values(p: ArrayLike) -> np.ndarray:
    values = as_numbers(p, name="p")
    check_finite(values, name="p-values")
    outside = values[(values < 0) | (values > 1)]
    if outside.size:
        raise DataError(
            f"{outside.size} of {values.size} p-values outside [0, 1], {outside[0]} the first",
            allowed="0 to 1",
        )
    return values
