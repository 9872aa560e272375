"""Score: the protocol that ranks features for a behaviour; one file per score, registered in `scores`."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from reasonmech.locate.rows.codes import Codes
from reasonmech.locate.rows.sample import Sample, Search
from reasonmech.registry import Registry
from reasonmech.stats import Interval


class Discovered(NamedTuple):
    """What the training split says of every feature.

    Attributes:
        value: [feature] the score.
        sign: [feature] 1 where the behaviour goes with activity, -1 where with silence, 0 where with neither.
        p: [feature] two-sided p-value of no association, clustered by problem, before correction.
        parts: [feature, problem] what every problem adds to the association, up to a factor of the feature;
            expected to be zero where there is none. Correction by max-T flips their signs; None from a score
            that has none.
    """

    value: np.ndarray
    sign: np.ndarray
    p: np.ndarray
    parts: np.ndarray | None = None


class Columns(NamedTuple):
    """Candidate detectors side by side (features, projections, probabilities): [row, detector] in either
    split."""

    train: np.ndarray
    test: np.ndarray


class Score(Protocol):
    """How well one number per row tells positives from negatives."""

    unit: str

    def discover(self, codes: Codes, sample: Sample) -> Discovered:
        """Score every feature of codes [row, feature] at once, on the training split."""
        ...

    def held_out(self, columns: Columns, train: Sample, test: Sample, search: Search) -> list[Interval]:
        """Value of each detector on problems that had no part in choosing or fitting it, with its
        interval."""
        ...


scores: Registry[type[Score]] = Registry("score")
