"""Cohen's d of every feature: how far apart its means are, in standard deviations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from reasonmech.locate.p_values import Discovered, by_problem_p
from reasonmech.locate.rows.codes import Codes
from reasonmech.locate.rows.sample import Sample, Search
from reasonmech.locate.scoring.detection import Columns, DetectionScore
from reasonmech.locate.scoring.score import scores
from reasonmech.stats import LEVEL, Interval, bootstrap_weights

SUMS: Final = 3  # of ones, values and squares, over the rows of one kind


@scores.register("cohen_d")
@final
@dataclass(frozen=True)
class CohenD(DetectionScore):
    """d = (mean at positives - mean elsewhere) / s, s^2 the pooled variance (Cohen 1988, eq. 2.5.1, 2.5.2).

    The mean difference that published searches rank by, in a unit that does not depend on the scale of a
    feature. A sparse feature has a skewed activation: d says less of how well it tells than AUROC does. Zero
    where nothing varies.
    """

    unit = "standard deviations"

    def discover(self, codes: Codes, sample: Sample) -> Discovered:
        c = sample.positive - sample.positive.mean()
        ones = sample.positive.astype(np.float64)
        squares = Codes(codes.matrix.power(2))
        kinds = np.stack([ones, 1 - ones], axis=1)
        sums, second = codes.weighted(kinds), squares.weighted(kinds)  # [kind, feature]
        counts = np.broadcast_to(kinds.sum(0)[:, None], sums.shape)
        value = _cohen_d(np.stack([counts, sums, second], axis=1))
        balance = np.bincount(sample.problem, c, sample.n_problems)
        mean = sums.sum(0) / len(sample)
        parts = codes.by_group(c, sample.problem, sample.n_problems) - np.outer(mean, balance)
        p = by_problem_p(parts, codes.groups_touched(sample.problem, sample.n_problems))
        return Discovered(value, np.sign(value), np.where(value == 0, 1.0, p), parts.astype(np.float32))

    def held_out(self, columns: Columns, train: Sample, test: Sample, search: Search) -> list[Interval]:
        kinds = np.stack([test.positive, ~test.positive])
        tails = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        intervals = []
        for values in columns.test.T:
            centred = values - values.mean()  # d stays, and the squares of a large mean would lose digits
            sums = np.zeros((test.n_problems, 2, SUMS))
            for i, rows in enumerate(kinds):
                for j, power in enumerate((np.ones(int(rows.sum())), centred[rows], centred[rows] ** 2)):
                    sums[:, i, j] = np.bincount(test.problem[rows], power, test.n_problems)
            flat = sums.reshape(test.n_problems, -1)
            weights = bootstrap_weights(test.n_problems, search.draws, search.seed)
            resampled = np.concatenate([w @ flat for w in weights]).reshape(-1, 2, SUMS)
            low, high = np.quantile(_cohen_d(np.moveaxis(resampled, 0, -1)), tails)
            intervals.append(Interval(float(_cohen_d(sums.sum(0)[..., None])[0]), float(low), float(high)))
        return intervals


def _cohen_d(sums: np.ndarray) -> np.ndarray:
    """d [n] of sums [kind (positive, other), (rows, values, squares), n]; 0 where nothing can be compared."""
    n, total, square = sums[:, 0], sums[:, 1], sums[:, 2]
    mean = np.divide(total, n, out=np.zeros_like(total), where=n > 0)
    within = (square - n * mean**2).sum(0)
    freedom = n.sum(0) - 2
    # what is left of equal squares after a subtraction is rounding, about 1e-16 of them: no spread
    usable = (n > 0).all(0) & (freedom > 0) & (within > 1e-12 * square.sum(0))
    spread = np.sqrt(np.divide(within, freedom, out=np.ones_like(within), where=usable))
    return np.where(usable, (mean[0] - mean[1]) / spread, 0.0)
