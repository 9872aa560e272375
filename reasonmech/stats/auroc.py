"""AUROC by problem: how often a positive row scores above a negative one, and what each problem adds to its
error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats
from scipy.special import expit, logit

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.stats.intervals import LEVEL, MIN_PROBLEMS, Interval


def influence(
    scores: ArrayLike, positive: ArrayLike, problems: ArrayLike, *, within: ArrayLike | None = None
) -> tuple[float, np.ndarray]:
    """AUROC A, and what every problem adds to its error, [problem] in the order of the sorted ids.

    Row i beats wins_i of its pairs_i rows of the other kind (in its stratum); N pairs in all. Then A is the
    sum of wins over positives / N, psi_p the sum of wins_i - A pairs_i over the rows of problem p / N, and
    the variance of A about the sum of psi_p^2 (DeLong's placement values summed by problem: Obuchowski 1997,
    eq. 4).

    Raises:
        NonFiniteError: a score is NaN, which has no rank.
    """
    values, label = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if missing := int(np.isnan(values).sum()):
        raise NonFiniteError(
            f"{missing} of {len(values)} scores are NaN", do="score every row, or leave its problem out"
        )
    _, stratum = np.unique(
        np.zeros(len(values)) if within is None else np.asarray(within), return_inverse=True
    )
    order = np.lexsort((values, stratum))
    new = (np.diff(values[order]) != 0) | (np.diff(stratum[order]) != 0)
    level = np.empty(len(values), dtype=int)
    level[order] = np.cumsum(np.r_[0, new])
    (neg_below, neg_all), (pos_below, pos_all) = (_below(level, stratum, rows) for rows in (~label, label))
    wins, pairs = np.where(label, neg_below, pos_all - pos_below), np.where(label, neg_all, pos_all)
    n_pairs = float(pairs[label].sum())
    value = float(wins[label].sum() / n_pairs)
    _, problem = np.unique(np.asarray(problems), return_inverse=True)
    return value, np.bincount(problem, wins - value * pairs) / n_pairs


def comparable(positive: np.ndarray, within: np.ndarray) -> np.ndarray:
    """[row] whether a row's stratum holds rows of both kinds."""
    return np.isin(within, np.intersect1d(within[positive], within[~positive]))


def _below(level: np.ndarray, stratum: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per row: counted rows of its stratum with a lower value, equal ones as halves; and all those of its
    stratum."""
    at, of = (
        np.bincount(level[counted], minlength=level.max() + 1),
        np.bincount(stratum[counted], minlength=stratum.max() + 1),
    )
    below, before = np.cumsum(at) - 0.5 * at, np.cumsum(of) - of
    return below[level] - before[stratum], of[stratum]


def auroc(
    scores: ArrayLike, positive: ArrayLike, problems: ArrayLike, *, within: ArrayLike | None = None
) -> Interval:
    """P(score of a positive > score of a negative), ties counting half, with its 95 % interval by problem.

    The interval is expit(logit A +- t se / (A (1 - A))), se from `influence`, t with k - 1 degrees of freedom
    for k problems with a positive row or with a negative one, whichever are fewer; and, where that reaches
    further, the same of one problem more that tells nothing: A' = (k A + 1/2) / (k + 1). Near 1 few problems
    lose at all, and the percentile bootstrap is far too short; where none does, this is about the bound of k
    rights in k (Clopper-Pearson).

    Args:
        scores, positive, problems: [row].
        within: [row] stratum; only rows of one stratum are compared, and those that have no opponent are left
            out.

    Raises:
        DataError: fewer than 5 problems hold a positive, or a negative, row (with an opponent).
    """
    values, label, of = (np.asarray(x) for x in (scores, np.asarray(positive, dtype=bool), problems))
    stratum = None if within is None else np.asarray(within)
    if stratum is not None:
        keep = comparable(label, stratum)
        values, label, of, stratum = values[keep], label[keep], of[keep], stratum[keep]
    k = min(_count(of, label, "positive"), _count(of, ~label, "negative"))
    value, psi = influence(values, label, of, within=stratum)
    variance = (psi**2).sum() * len(psi) / (len(psi) - 1)
    shrunk = (k * value + 0.5) / (k + 1)
    spread = (k**2 * variance + (value - 0.5) ** 2 * k / (k + 1)) / (k + 1) ** 2
    ends = [value, *_around(shrunk, spread, freedom=k)]
    if variance > 0:
        ends += _around(value, variance, freedom=k - 1)
    return Interval(value, min(ends), max(ends))


def _around(share: float, variance: float, *, freedom: int) -> list[float]:
    """95 % about a share strictly between 0 and 1, on the logit scale."""
    half = scipy_stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance) / (share * (1 - share))
    return expit(logit(share) + np.array([-half, half])).tolist()


def _count(problems: np.ndarray, rows: np.ndarray, name: str) -> int:
    if (found := len(np.unique(problems[rows]))) < MIN_PROBLEMS:
        raise DataError(
            f"{found} problems hold a {name} row", allowed=f"at least {MIN_PROBLEMS}", do="use more problems"
        )
    return found
