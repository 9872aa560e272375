"""Intervals whose unit is the problem: paired bootstrap, Fieller, exact binomial.

Thin over scipy. Values are reduced to one number per problem first; then whole problems are resampled.
Rollouts are not resampled again inside a problem: the spread between problem means already contains theirs,
and a second stage counts it twice (Davison and Hinkley 1997, section 3.8). A test shows the coverage.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from reasonmech.errors import DataError, NonFiniteError

DRAWS = 10_000
LEVEL = 0.95
MIN_PROBLEMS = 5  # fewer problems with a positive (or a negative) row carry no interval


class Interval(NamedTuple):
    """An estimate with its two-sided interval at `level`."""

    estimate: float
    low: float
    high: float
    level: float = LEVEL

    def covers(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


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


def by_problem(values: ArrayLike, problems: ArrayLike | None = None) -> np.ndarray:
    """One mean per problem, in the order of the sorted problem ids.

    Args:
        values: [problem], [problem, sample], or [row] together with `problems`.
        problems: [row] problem id of every row.

    Raises:
        DataError: no value, or lengths that differ.
        NonFiniteError: a value is NaN or infinite (a skipped problem is a wrong answer, not a NaN).
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise DataError("no values to average", do="check that the arm was run on these problems")
    if not np.isfinite(array).all():
        raise NonFiniteError(
            f"{int((~np.isfinite(array)).sum())} of {array.size} values are not finite",
            do="score a skipped or truncated problem as wrong instead of leaving it out",
        )
    if problems is None:
        return array if array.ndim == 1 else array.reshape(len(array), -1).mean(1)
    ids, code = np.unique(np.asarray(problems), return_inverse=True)
    if array.shape != code.shape:
        raise DataError(
            f"{array.shape} values for {code.shape} problem ids", do="give one problem id per value"
        )
    return np.bincount(code, array, len(ids)) / np.bincount(code, minlength=len(ids))


def bootstrap_weights(n: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n problems is drawn: chunks [draw, problem] that sum to n along the second axis."""
    rng = np.random.default_rng(seed)
    chunk = max(1, 4_000_000 // n)
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def ratio_interval(
    numerator: ArrayLike, denominator: ArrayLike, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Interval:
    """Percentile bootstrap of sum(numerator) / sum(denominator) over problems, both [problem].

    With row counts as denominator this is a mean over rows whose unit of resampling is the problem.
    """
    pair = np.stack([by_problem(numerator), by_problem(denominator)], axis=1)
    sums = np.concatenate([weights @ pair for weights in bootstrap_weights(len(pair), draws, seed)])
    low, high = np.quantile(sums[:, 0] / sums[:, 1], _tails(level))
    return Interval(float(pair[:, 0].sum() / pair[:, 1].sum()), float(low), float(high), level)


def mean_interval(
    values: ArrayLike,
    problems: ArrayLike | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Mean over problems. Exact (Clopper-Pearson) when every problem is one 0 or 1, else the bootstrap by
    problem."""
    means = by_problem(values, problems)
    if np.asarray(values).size == len(means) and np.isin(means, (0.0, 1.0)).all():
        return clopper_pearson(int(means.sum()), len(means), level=level)
    return ratio_interval(means, np.ones_like(means), draws=draws, seed=seed, level=level)


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, problems: ArrayLike | None = None, *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Mean of a - b over problems, at 95 %. An interval of width 0 says that every problem differed by the
    same amount.

    Args:
        a, b: the two arms on the same problems: [problem], [problem, sample], or [row] together with
            `problems`.
    """
    first, second = same_problems(a, b, problems)
    return ratio_interval(first - second, np.ones_like(first), draws=draws, seed=seed)


def recovery(
    base: ArrayLike,
    thinking: ArrayLike,
    arm: ArrayLike,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Recovery:
    """(arm - base) / (thinking - base), problems resampled jointly; each arm is [problem] or [problem,
    sample].

    Signed and never clipped: an arm below the base is negative, one above the thinking model exceeds 1.
    """
    low_arm, high_arm = same_problems(base, thinking)
    low_arm, middle = same_problems(low_arm, arm)
    gain, gap = middle - low_arm, high_arm - low_arm
    pair = np.stack([gain, gap], axis=1)
    means = np.concatenate([w @ pair for w in bootstrap_weights(len(pair), draws, seed)]) / len(pair)
    gap_low, gap_high = np.quantile(means[:, 1], _tails(level))
    interval = Interval(float(gap.mean()), float(gap_low), float(gap_high), level)
    unbounded = interval.covers(0.0)
    low, high = (-np.inf, np.inf) if unbounded else np.quantile(means[:, 0] / means[:, 1], _tails(level))
    estimate = float(gain.mean() / gap.mean()) if gap.mean() != 0 else float("nan")
    weak = bool(abs(gap.mean()) <= 4 * gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else True
    return Recovery(estimate, float(low), float(high), level, interval, unbounded, weak)


def fieller(numerator: ArrayLike, denominator: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Fieller's interval of mean(numerator) / mean(denominator), paired by problem; (-inf, inf) when
    unbounded."""
    top, bottom = same_problems(numerator, denominator)
    n = len(top)
    t2 = scipy_stats.t.ppf((1 + level) / 2, n - 1) ** 2
    cov = np.cov(top, bottom) / n
    mean_top, mean_bottom = top.mean(), bottom.mean()
    a = mean_bottom**2 - t2 * cov[1, 1]
    if a <= 0:
        return Interval(
            float(mean_top / mean_bottom) if mean_bottom else float("nan"), -np.inf, np.inf, level
        )
    b = mean_top * mean_bottom - t2 * cov[0, 1]
    half = np.sqrt(max(b**2 - a * (mean_top**2 - t2 * cov[0, 0]), 0.0))
    return Interval(float(mean_top / mean_bottom), float((b - half) / a), float((b + half) / a), level)


def clopper_pearson(successes: int, n: int, *, level: float = LEVEL) -> Interval:
    """Exact binomial interval of a share."""
    found = scipy_stats.binomtest(successes, n).proportion_ci(level, method="exact")
    return Interval(successes / n, float(found.low), float(found.high), level)


def same_problems(
    a: ArrayLike, b: ArrayLike, problems: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Two arms as one number per problem each, in one order. Raises DataError: they differ in number."""
    first, second = by_problem(a, problems), by_problem(b, problems)
    if len(first) != len(second):
        raise DataError(
            f"{len(first)} problems against {len(second)}",
            do="score both arms on the same problems, in one order",
        )
    return first, second


def _tails(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2
