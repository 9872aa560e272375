"""Tests over problems, and corrections for many of them: McNemar, equivalence, BH, Holm, max-T. Thin over
scipy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from reasonmech.stats.intervals import same_problems


class McNemar(NamedTuple):
    """Discordant pairs and the exact two-sided p-value of their symmetry."""

    only_a: int
    only_b: int
    p: float


class Equivalence(NamedTuple):
    """Two one-sided t-tests: `equivalent` when the (1 - 2 alpha) interval of the difference lies inside
    +-margin."""

    estimate: float
    low: float
    high: float
    p: float
    equivalent: bool


def mcnemar(a: ArrayLike, b: ArrayLike) -> McNemar:
    """Exact test that two arms are right equally often, one rollout per problem: a, b are [problem] of 0 and
    1."""
    first, second = (np.asarray(x).astype(bool) for x in (a, b))
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    p = scipy_stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return McNemar(only_a, only_b, float(p))


def tost(
    a: ArrayLike, b: ArrayLike, *, margin: float, problems: ArrayLike | None = None, alpha: float = 0.05
) -> Equivalence:
    """Is a - b within +-margin? Two one-sided paired t-tests over problems: a mere null result says
    nothing."""
    first, second = same_problems(a, b, problems)
    difference = first - second
    mean, error = float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))
    if error == 0:
        p, half = float(abs(mean) >= margin), 0.0
    else:
        student = scipy_stats.t(len(difference) - 1)
        p = float(max(student.sf((mean + margin) / error), student.cdf((mean - margin) / error)))
        half = float(student.ppf(1 - alpha)) * error
    return Equivalence(mean, mean - half, mean + half, p, p < alpha)


def bh(p: ArrayLike) -> np.ndarray:
    """Benjamini-Hochberg adjusted p-values [test]: for discovery."""
    return scipy_stats.false_discovery_control(np.asarray(p, dtype=np.float64))


def holm(p: ArrayLike) -> np.ndarray:
    """Holm adjusted p-values [test]: for confirmation."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)).clip(max=1.0)
    adjusted = np.empty_like(stepped)
    adjusted[order] = stepped
    return adjusted


def max_t(observed: ArrayLike, null: ArrayLike) -> np.ndarray:
    """Single-step max-T p-values (Westfall and Young 1993): observed [test] against null [draw, test],
    two-sided."""
    highest = np.sort(np.abs(np.asarray(null, dtype=np.float64)).max(1))
    least = np.abs(np.asarray(observed, dtype=np.float64)) * (
        1 - 1e-9
    )  # equal but for the order of summation
    exceeding = len(highest) - np.searchsorted(highest, least, side="left")
    return (1 + exceeding) / (1 + len(highest))
