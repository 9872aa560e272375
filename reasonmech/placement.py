"""Placement: where rows of one kind stand among those of the other, and what each problem adds to the error of that."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from reasonmech.errors import NonFiniteError


def influence(
    scores: ArrayLike, positive: ArrayLike, problems: ArrayLike, *, within: ArrayLike | None = None
) -> tuple[float, np.ndarray]:
    """AUROC A, and what every problem adds to its error, [problem] in the order of the sorted ids.

    Row i beats wins_i of its pairs_i rows of the other kind (in its stratum); N pairs in all. Then A is the sum of wins
    over positives / N, psi_p the sum of wins_i - A pairs_i over the rows of problem p / N, and the variance of A about
    the sum of psi_p^2 (DeLong's placement values summed by problem: Obuchowski 1997, eq. 4).

    Raises:
        NonFiniteError: a score is NaN, which has no rank.
    """
    values, label = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if missing := int(np.isnan(values).sum()):
        raise NonFiniteError(
            f"{missing} of {len(values)} scores are NaN", do="score every row, or leave its problem out"
        )
    _, stratum = np.unique(np.zeros(len(values)) if within is None else np.asarray(within), return_inverse=True)
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
    """Per row: counted rows of its stratum with a lower value, equal ones as halves; and all those of its stratum."""
    at, of = (
        np.bincount(level[counted], minlength=level.max() + 1),
        np.bincount(stratum[counted], minlength=stratum.max() + 1),
    )
    below, before = np.cumsum(at) - 0.5 * at, np.cumsum(of) - of
    return below[level] - before[stratum], of[stratum]
