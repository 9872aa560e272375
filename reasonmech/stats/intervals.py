"""Intervals whose unit is the problem: means, differences, rates and ratios, Fieller, exact binomial.

Thin over scipy and `stats.bounded`. Values are reduced to one number per problem first; then whole problems
are resampled, or reweighted. Rollouts are not resampled again inside a problem: the spread between problem
means already contains theirs, and a second stage counts it twice (Davison and Hinkley 1997, section 3.8).
Tests show the coverage.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.ranges import Seed
from reasonmech.stats.bounded import (
    SHARE,
    Bounds,
    check_bounds,
    difference_bounds,
    mean_ends,
    quantiles,
    reweight,
)
from reasonmech.stats.checks import check_level
from reasonmech.stats.problems import bootstrap_weights, by_problem, check_two_problems, same_problems

DRAWS: Final = 10_000
LEVEL: Final = 0.95


class Interval(NamedTuple):
    """An estimate with its two-sided interval at `level`."""

    estimate: float
    low: float
    high: float
    level: float = LEVEL

    @checked
    def covers(self, value: float) -> bool:
        """Whether the value lies within, ends included."""
        return self.low <= value <= self.high

    @property
    def unbounded(self) -> bool:
        """Whether an end is infinite, as of a ratio whose denominator may be 0."""
        return bool(np.isinf([self.low, self.high]).any())

    def __str__(self) -> str:
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


@checked
def ratio_interval(
    numerator: ArrayLike, denominator: ArrayLike, *, draws: int = DRAWS, seed: Seed = 0, level: float = LEVEL
) -> Interval:
    """Percentile bootstrap of sum(numerator) / sum(denominator) over problems, both [problem].

    With row counts as denominator this is a mean over rows whose unit of resampling is the problem. A draw
    whose denominator is 0 may be any ratio: the smallest for the lower end, the largest for the upper one, so
    that both are infinite where there are more such draws than a tail holds.

    Raises:
        ArgumentError: something that is no array of numbers.
        DataError: fewer than two problems, numbers of problems that differ, no draw, a level outside (0, 1),
            a denominator whose sum is 0.
        NonFiniteError: a value is NaN or infinite.
    """
    check_level(level)
    check_draws(draws)
    pair = np.stack(same_problems(numerator, denominator), axis=1)
    check_two_problems(len(pair))
    if pair[:, 1].sum() == 0:
        raise DataError(
            f"the denominators of {len(pair)} problems add up to 0: there is no ratio",
            allowed="a sum other than 0",
            do="count opportunities first",
        )
    sums = np.concatenate([weights @ pair for weights in bootstrap_weights(len(pair), draws, seed)])
    estimate, is_any = float(pair[:, 0].sum() / pair[:, 1].sum()), sums[:, 1] == 0
    if not is_any.any():
        low, high = np.quantile(sums[:, 0] / sums[:, 1], tails(level))
        return Interval(estimate, float(low), float(high), level)
    ratios = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=~is_any)
    ends = quantiles(np.where(is_any, -np.inf, ratios), np.where(is_any, np.inf, ratios), level)
    return Interval(estimate, *ends, level)


@checked
def mean_interval(
    values: ArrayLike,
    problems: ArrayLike | None = None,
    *,
    bounds: Bounds | None,
    draws: int = DRAWS,
    seed: Seed = 0,
    level: float = LEVEL,
) -> Interval:
    """Mean over problems. An arm that never failed in n problems may fail in others: `bounds` says how far.

    With bounds the interval is that of `stats.bounded`: exact (Clopper-Pearson) where every problem is at one
    of them, and as wide as n problems warrant where none, or hardly any, differs from the rest. Without, it
    is the percentile bootstrap, which knows no other values than those of the sample.

    Args:
        values: [problem], [problem, sample], or [row] together with `problems`.
        problems: [row] problem id of every row.
        bounds: the least and the largest value that are possible, whatever the sample holds: `SHARE` (0, 1)
            for shares of right answers, `CONTRAST` (-1, 1) for differences of two; None where there are none
            (nats, logits, activations).

    Raises:
        ArgumentError: something that is no array of numbers, bounds that are none.
        DataError: no value, lengths that differ, a value outside of the bounds, a single problem that is not
            at one of them.
        NonFiniteError: a value is NaN or infinite.
    """
    means = by_problem(values, problems)
    if bounds is None:
        return ratio_interval(means, np.ones_like(means), draws=draws, seed=seed, level=level)
    check_level(level)
    check_draws(draws)
    check_bounds(bounds, values=means)
    bottom, top = bounds
    if np.isin(means, bounds).all():
        exact = clopper_pearson(int((means == top).sum()), len(means), level=level)
        estimate, low, high = (bottom + (top - bottom) * share for share in exact[:3])
        return Interval(estimate, low, high, level)
    check_two_problems(len(means))
    low, high = mean_ends(means, bounds, level, draws=draws, seed=seed)
    return Interval(float(means.mean()), low, high, level)


@checked
def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    problems: ArrayLike | None = None,
    *,
    bounds: Bounds | None = SHARE,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Mean of a - b over problems, at 95 %: `mean_interval` of the differences.

    With bounds and one rollout per problem it excludes 0 exactly where `mcnemar` rejects, but for the draws.

    Args:
        a, b: the two arms on the same problems: [problem], [problem, sample], or [row] together with
            `problems`.
        bounds: what a and b can be; a difference can then be anything from low - high to high - low. None:
            they have no bounds, and all problems that differ by the same amount give a width of 0.

    Raises:
        ArgumentError: something that is no array of numbers, bounds that are none.
        DataError: fewer than two problems, numbers of problems that differ, a value outside of the bounds.
        NonFiniteError: a value is NaN or infinite.
    """
    first, second = same_problems(a, b, problems)
    check_two_problems(len(first))
    check_bounds(bounds, a=first, b=second)
    of_difference = None if bounds is None else difference_bounds(bounds)
    return mean_interval(first - second, bounds=of_difference, draws=draws, seed=seed)


@checked
def rate_interval(
    hits: ArrayLike, n: ArrayLike, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Interval:
    """sum(hits) / sum(n) over problems that have n opportunities each, with the problem as the unit.

    As `mean_interval`, the problem that was not seen having as many opportunities as the most that one had,
    all missed or all hit; exact (Clopper-Pearson over problems) where all have equally many, and hit all or
    none. Problems without an
    opportunity say nothing and are left out.

    Args:
        hits, n: [problem], hits of so many opportunities.

    Raises:
        ArgumentError: something that is no array of numbers.
        DataError: no opportunity, numbers of problems that differ, hits outside of 0 to n.
        NonFiniteError: a value is NaN or infinite.
    """
    check_level(level)
    check_draws(draws)
    counts = np.stack(same_problems(hits, n), axis=1)
    wrong = counts[(counts[:, 0] < 0) | (counts[:, 0] > counts[:, 1])]
    if len(wrong) or not counts[:, 1].any():
        what = f"{wrong[0, 0]:g} hits of {wrong[0, 1]:g}" if len(wrong) else "no opportunity in any problem"
        raise DataError(what, allowed="0 <= hits <= n, and some n above 0", do="count opportunities first")
    usable = counts[counts[:, 1] > 0]
    n_hits, total = usable.sum(0)
    most = usable[:, 1].max()
    if (usable[:, 1] == most).all() and np.isin(usable[:, 0], (0, most)).all():
        return clopper_pearson(int((usable[:, 0] > 0).sum()), len(usable), level=level)
    sums, unseen = reweight(usable, draws=draws, seed=seed)
    more = unseen * most
    of = sums[:, 1] + more
    return Interval(
        float(n_hits / total), *quantiles(sums[:, 0] / of, (sums[:, 0] + more) / of, level), level
    )


@checked
def fieller(numerator: ArrayLike, denominator: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Fieller's interval of mean(numerator) / mean(denominator), paired by problem; infinite when unbounded.

    The ends are the roots r of (m_n - r m_d)^2 = t^2 var(m_n - r m_d), a quadratic in r (Fieller 1954); there
    is no finite interval where that of the denominator covers 0.

    Raises:
        ArgumentError: something that is no array of numbers.
        DataError: fewer than two problems, numbers of problems that differ, a level outside (0, 1).
        NonFiniteError: a value is NaN or infinite.
    """
    check_level(level)
    top, bottom = same_problems(numerator, denominator)
    check_two_problems(len(top))
    n = len(top)
    t2 = scipy_stats.t.ppf((1 + level) / 2, n - 1) ** 2
    cov = np.cov(top, bottom) / n  # of the two means
    mean_top, mean_bottom = top.mean(), bottom.mean()
    a = mean_bottom**2 - t2 * cov[1, 1]
    if a <= 0:
        return Interval(
            float(mean_top / mean_bottom) if mean_bottom else float("nan"), -np.inf, np.inf, level
        )
    b = mean_top * mean_bottom - t2 * cov[0, 1]
    # The discriminant is not negative where a > 0, but for rounding.
    half = np.sqrt(max(b**2 - a * (mean_top**2 - t2 * cov[0, 0]), 0.0))
    return Interval(float(mean_top / mean_bottom), float((b - half) / a), float((b + half) / a), level)


@checked
def clopper_pearson(successes: int, n: int, *, level: float = LEVEL) -> Interval:
    """Exact binomial interval of a share (Clopper and Pearson 1934), by scipy.

    Raises:
        DataError: not 0 <= successes <= n with n >= 1, or a level outside (0, 1).
    """
    check_level(level)
    if not (0 <= successes <= n and n >= 1):
        raise DataError(
            f"{successes} successes of {n}", allowed="0 <= successes <= n, n >= 1", do="count at least one"
        )
    interval = scipy_stats.binomtest(successes, n).proportion_ci(level, method="exact")
    return Interval(successes / n, float(interval.low), float(interval.high), level)


def tails(level: float) -> tuple[float, float]:
    """The two quantiles between which the level lies: 0.95 -> 0.025, 0.975."""
    return (1 - level) / 2, (1 + level) / 2


def check_draws(draws: int) -> None:
    """Refuse a bootstrap without draws.

    Raises:
        DataError: fewer than one.
    """
    if draws < 1:
        raise DataError(f"{draws} draws", allowed="draws >= 1", do=f"leave it out, and {DRAWS} are made")
