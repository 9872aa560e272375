"""Tests over problems and corrections for many of them: McNemar, equivalence, BH, Holm, max-T."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.stats.checks import as_labels, as_numbers, check_finite, check_lengths
from reasonmech.stats.problems import check_two_problems, same_problems


class McNemar(NamedTuple):
    """Discordant pairs and the exact two-sided p-value of their symmetry."""

    only_a: int
    only_b: int
    p: float


class Equivalence(NamedTuple):
    """Two one-sided t-tests.

    Attributes:
        low, high: the (1 - 2 alpha) interval of the difference.
        p: the larger of the two p-values.
        equivalent: whether that interval lies inside +-margin.
    """

    estimate: float
    low: float
    high: float
    p: float
    equivalent: bool


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
    a: ArrayLike, b: ArrayLike, *, margin: float, problems: ArrayLike | None = None, alpha: float = 0.05
) -> Equivalence:
    """Is a - b within +-margin? Two one-sided paired t-tests over problems (Schuirmann 1987).

    A difference that is not significant may be large; this test asks for precision.

    Args:
        a, b: the two arms on the same problems: [problem], [problem, sample], or [row] together with
            `problems`.
        margin: the largest difference that does not matter, in the unit of a and b.

    Raises:
        ArgumentError: something that is no array of numbers.
        DataError: fewer than two problems, numbers of problems that differ, a margin of 0 or less, an alpha
            outside (0, 0.5).
        NonFiniteError: a value is NaN or infinite.
    """
    if not (margin > 0 and 0 < alpha < 0.5):
        raise DataError(f"margin {margin}, alpha {alpha}", allowed="margin > 0, 0 < alpha < 0.5")
    first, second = same_problems(a, b, problems)
    check_two_problems(len(first))
    difference = first - second
    mean, error = float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))
    if error == 0:  # all problems differ by the same amount: t would be infinite
        p, half = float(abs(mean) >= margin), 0.0
    else:
        student = scipy_stats.t(len(difference) - 1)
        p = float(max(student.sf((mean + margin) / error), student.cdf((mean - margin) / error)))
        half = float(student.ppf(1 - alpha)) * error
    return Equivalence(mean, mean - half, mean + half, p, p < alpha)


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
