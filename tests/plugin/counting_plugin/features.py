"""A feature score and a direction method."""

from __future__ import annotations

import numpy as np

from reasonmech.locate import Columns, DetectionScore, Discovered, Sample, Search, scores
from reasonmech.locate.directions import methods
from reasonmech.locate.rows.codes import Codes
from reasonmech.stats import Interval, mean_interval


@scores.register("mean_gap")
class MeanGap(DetectionScore):
    """Mean at positives minus mean elsewhere."""

    unit = "activation units"

    def discover(self, codes: Codes, sample: Sample) -> Discovered:
        dense = codes.matrix.toarray()
        gap = dense[sample.positive].mean(0) - dense[~sample.positive].mean(0)
        return Discovered(gap, np.sign(gap), np.ones_like(gap))

    def held_out(self, columns: Columns, train: Sample, test: Sample, search: Search) -> list[Interval]:
        return [
            mean_interval(values, test.problem, bounds=None, draws=search.draws) for values in columns.test.T
        ]


@methods.register("first_axis")
def first_axis(x: np.ndarray, positive: np.ndarray, problem: np.ndarray) -> np.ndarray:
    """The first coordinate of the stream."""
    return np.eye(x.shape[1])[0]
