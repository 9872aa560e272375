"""AUROC by problem: how often a positive row scores above a negative one, with an interval near 1 too."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats
from scipy.special import expit, logit

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.stats.checks import as_ids, as_labels, as_numbers, check_lengths
from reasonmech.stats.intervals import LEVEL, Interval
from reasonmech.stats.problems import MIN_PROBLEMS


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
        ArgumentError: scores that are no numbers, labels that are neither true nor false.
        DataError: lengths that differ, or fewer than 5 problems with a positive, or a negative, row (with an
            opponent).
        NonFiniteError: a score is NaN, which has no rank.
    """
    values, label = as_numbers(scores, name="scores"), as_labels(positive, name="positive")
    problem_ids = as_ids(problems, name="problems")
    stratum = None if within is None else as_ids(within, name="within")
    check_lengths(scores=values, positive=label, problems=problem_ids, within=stratum)
    if stratum is not None:
        has_opponent = comparable(label, stratum)
        values, label = values[has_opponent], label[has_opponent]
        problem_ids, stratum = problem_ids[has_opponent], stratum[has_opponent]
    k = min(_count(problem_ids, label, "positive"), _count(problem_ids, ~label, "negative"))
    value, psi = influence(values, label, problem_ids, within=stratum)
    variance = (psi**2).sum() * len(psi) / (len(psi) - 1)
    # One problem more that tells nothing: an AUROC of 1 has no spread of its own, and is not certain.
    shrunk = (k * value + 0.5) / (k + 1)
    spread = (k**2 * variance + (value - 0.5) ** 2 * k / (k + 1)) / (k + 1) ** 2
    ends = [value, *_around(shrunk, spread, freedom=k)]
    if variance > 0:
        ends += _around(value, variance, freedom=k - 1)
    return Interval(value, min(ends), max(ends))


def influence(
    scores: ArrayLike, positive: ArrayLike, problems: ArrayLike, *, within: ArrayLike | None = None
) -> tuple[float, Float[np.ndarray, " problem"]]:
    """AUROC A, and what every problem adds to its error, in the order of the sorted ids.

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
    # Equal scores of one stratum share a level; levels rise with the stratum first, then with the score.
    order = np.lexsort((values, stratum))
    is_new = (np.diff(values[order]) != 0) | (np.diff(stratum[order]) != 0)
    level = np.empty(len(values), dtype=int)
    level[order] = np.cumsum(np.r_[0, is_new])
    (neg_below, neg_all), (pos_below, pos_all) = (
        _rows_below(level, stratum, rows) for rows in (~label, label)
    )
    wins, pairs = np.where(label, neg_below, pos_all - pos_below), np.where(label, neg_all, pos_all)
    n_pairs = float(pairs[label].sum())
    value = float(wins[label].sum() / n_pairs)
    _, problem = np.unique(np.asarray(problems), return_inverse=True)
    return value, np.bincount(problem, wins - value * pairs) / n_pairs


def comparable(positive: np.ndarray, within: np.ndarray) -> Bool[np.ndarray, " row"]:
    """Whether a row's stratum holds rows of both kinds."""
    return np.isin(within, np.intersect1d(within[positive], within[~positive]))


def _rows_below(
    level: Int[np.ndarray, " row"], stratum: Int[np.ndarray, " row"], rows: Bool[np.ndarray, " row"]
) -> tuple[Float[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    """Per row: how many of `rows` in its stratum lie below it, equal ones as halves; and how many in all."""
    at_level = np.bincount(level[rows], minlength=level.max() + 1)
    in_stratum = np.bincount(stratum[rows], minlength=stratum.max() + 1)
    below = np.cumsum(at_level) - 0.5 * at_level
    in_earlier_strata = np.cumsum(in_stratum) - in_stratum
    return below[level] - in_earlier_strata[stratum], in_stratum[stratum]


def _around(share: float, variance: float, *, freedom: int) -> list[float]:
    """95 % about a share strictly between 0 and 1, on the logit scale."""
    half = scipy_stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance) / (share * (1 - share))
    return expit(logit(share) + np.array([-half, half])).tolist()


def _count(problems: np.ndarray, rows: np.ndarray, kind: str) -> int:
    n = len(np.unique(problems[rows]))
    if n < MIN_PROBLEMS:
        raise DataError(
            f"{n} problems hold a {kind} row", allowed=f"at least {MIN_PROBLEMS}", do="use more problems"
        )
    return n
