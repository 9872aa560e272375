"""p-values whose unit is the problem, corrected by Benjamini-Hochberg or by max-T over flipped signs."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.locate.rows.sample import Search
from reasonmech.ranges import Positive
from reasonmech.stats import MIN_PROBLEMS, bh, max_t

CELLS: Final = 2**24  # flipped statistics computed at once


class Discovered(NamedTuple):
    """What the training split says of every feature.

    Attributes:
        value: [feature] the score.
        sign: [feature] 1 where the behaviour goes with activity, -1 where with silence, 0 where with neither.
        p: [feature] two-sided p-value of no association, clustered by problem, before correction.
        parts: [feature, problem] what every problem adds to the association, up to a factor of the feature;
            expected to be zero where there is none. Correction by max-T flips their signs; None from a score
            that has none.
        p_adjusted: [feature] from a score that brings a max-T correction of its own; else None.
    """

    value: np.ndarray
    sign: np.ndarray
    p: np.ndarray
    parts: np.ndarray | None = None
    p_adjusted: np.ndarray | None = None

    @checked
    def best(self, top: Positive) -> np.ndarray:
        """So many features, best first: those that go with the behaviour (sign 1), then the others."""
        return np.lexsort((-self.value, self.sign <= 0))[:top]


def by_problem_p(parts: np.ndarray, fires_in: np.ndarray) -> np.ndarray:
    """Two-sided p [feature] that parts u_p [feature, problem] are zero on average.

    T = sum u_p / sqrt(sum u_p^2) is what max-T compares. Where parts are symmetric about zero its tails are
    normal or lighter, however few and unlike they are (Efron 1969); with the spread about the observed mean
    in place of the squares, a search of 12 problems finds something in most draws of noise. p is never below
    2^(1 - k), the least that flipping the signs of k problems can give, k being those in which the feature
    fires (`fires_in` [feature]), and 1 below five of them.
    """
    size = np.sqrt((parts**2).sum(1))
    t = np.divide(np.abs(parts.sum(1)), size, out=np.zeros(len(parts)), where=size > 0)
    # the normal tail of a handful of problems is lighter than what flipping their signs can give
    p = np.maximum(2 * scipy_stats.norm.sf(t), 2.0 ** (1 - fires_in))
    return np.where((fires_in < MIN_PROBLEMS) | (t == 0), 1.0, p)


def adjusted(discovered: Discovered, search: Search, *, score: str) -> np.ndarray:
    """p-values [feature] corrected over all features, as `search.correction` says.

    "bh" bounds the share of false discoveries, from the clustered p-values. "max_t" bounds the chance of a
    single one (Westfall and Young 1993, single step): with parts u_fp, T_f = sum_p u_fp / sqrt(sum_p u_fp^2)
    is compared with the largest |T| over all features when the sign of every problem is drawn anew, the same
    for all features, so that it follows their correlations. Problems, not rows, are exchanged: under no
    association parts are symmetric about zero.

    Raises:
        DataError: the score has no parts by problem to flip.
    """
    if discovered.p_adjusted is not None:
        return discovered.p_adjusted
    if search.correction == "bh":
        return bh(discovered.p)
    if discovered.parts is None:
        raise DataError(
            f"score {score!r} says nothing by problem: there is no sign to flip",
            do='use correction="bh", or let its discover() return parts',
        )
    parts = discovered.parts.astype(np.float64)
    size = np.sqrt((parts**2).sum(1))
    testable = (size > 0) & ((parts != 0).sum(1) >= MIN_PROBLEMS) & (discovered.p < 1)
    p = np.ones(len(parts))
    if testable.any():
        unit = parts[testable] / size[testable, None]
        p[testable] = max_t(unit.sum(1), _largest(unit, search))
    return p


def _largest(unit: np.ndarray, search: Search) -> np.ndarray:
    """[draw, 1] largest |T| over all features under drawn signs of the problems."""
    rng = np.random.default_rng([search.seed, 1])
    step = max(1, CELLS // len(unit))
    sizes = [min(step, search.flips - start) for start in range(0, search.flips, step)]
    draws = (rng.choice((-1.0, 1.0), (rows, unit.shape[1])) for rows in sizes)
    return np.concatenate([np.abs(signs @ unit.T).max(1) for signs in draws])[:, None]
