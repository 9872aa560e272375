"""DetectionScore: how well one number per row tells positives from negatives; what most scores are."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from reasonmech.labels import Labels
from reasonmech.locate.directions import fit_vector
from reasonmech.locate.p_values import Discovered
from reasonmech.locate.rows.codes import Codes
from reasonmech.locate.rows.context import Context, design_matrix, known_covariates
from reasonmech.locate.rows.sample import Sample, Search, check_spans, split_by_problem
from reasonmech.locate.rows.stream import encode, project, sample_rows
from reasonmech.locate.scoring.score import Measured, Score, SearchData
from reasonmech.stats import Interval

if TYPE_CHECKING:
    from reasonmech.runtime.activations.activations import Activations

FITTED_BASELINES: Final = ("diff_mean", "probe")
Detector: TypeAlias = tuple[str, int]  # kind, and the feature's index (-1 for a baseline)


class Columns(NamedTuple):
    """Candidate detectors side by side, on either side of the split: [row, detector]."""

    train: np.ndarray
    test: np.ndarray


class Split(NamedTuple):
    """Both sides of a search, and which rows [row] are held out."""

    train: Sample
    test: Sample
    held_out: np.ndarray


class DetectionScore(Score):
    """A score of single numbers per row: features, projections on a direction, a probability.

    Problems are split once. On one side every feature is scored by `discover`; on the other the best are
    valued by `held_out`, and in the same way a difference of means and a logistic probe that were fitted on
    the first side, and the ceiling where the context has it.
    """

    reads_context = True

    @abstractmethod
    def discover(self, codes: Codes, sample: Sample) -> Discovered:
        """Score every feature of codes [row, feature] at once, on the training split."""

    @abstractmethod
    def held_out(self, columns: Columns, train: Sample, test: Sample, search: Search) -> list[Interval]:
        """Value and interval of each detector on problems that had no part in choosing or fitting it."""

    def measure(self, data: SearchData) -> Measured:
        labels, search = data.labels, data.search
        data.context.check(labels)
        check_spans(labels, search)
        codes = encode(data.acts, labels, data.coder)
        split = split_rows(data.acts, labels, data.context, search)
        discovered = self.discover(codes.take_rows(~split.held_out), split.train)
        best = list(dict.fromkeys([*discovered.best(search.top).tolist(), *search.also]))
        detectors: dict[Detector, np.ndarray] = {("feature", i): codes.column(i) for i in best}
        detectors |= _baselines(data, split)
        values = np.stack(list(detectors.values()), axis=1).astype(np.float64)
        columns = Columns(values[~split.held_out], values[split.held_out])
        intervals = self.held_out(columns, split.train, split.test, search)
        return Measured(labels, split.test, discovered, codes.firing, valued(list(detectors), intervals))


def valued(detectors: list[Detector], intervals: list[Interval]) -> pd.DataFrame:
    """One row per detector: kind, feature, value, low, high."""
    rows = [(*detector, i.estimate, i.low, i.high) for detector, i in zip(detectors, intervals, strict=True)]
    return pd.DataFrame(rows, columns=["kind", "feature", "value", "low", "high"])


def split_rows(acts: Activations, labels: Labels, context: Context, search: Search) -> Split:
    """Both sides of a search, with what is known at every row without any feature."""
    held_out = split_by_problem(labels, search)
    covariates = known_covariates(acts, labels)
    if context.covariates is not None:
        covariates = pd.concat([covariates, context.covariates.reset_index(drop=True)], axis=1)
    design = design_matrix(covariates, ~held_out)
    _, token = np.unique(covariates["delimiter"].to_numpy(), return_inverse=True)
    train, test = (Sample.of(labels.take(rows), design[rows], token[rows]) for rows in (~held_out, held_out))
    return Split(train, test, held_out)


def _baselines(data: SearchData, split: Split) -> dict[Detector, np.ndarray]:
    """One value per row for each baseline: projections fitted on the training rows, and the ceiling."""
    acts, labels, site = data.acts, data.labels, data.coder.site
    values_of: dict[Detector, np.ndarray] = {}
    if data.context.ceiling is not None:
        values_of["ceiling", -1] = _log_odds(np.asarray(data.context.ceiling, dtype=np.float64))
    if acts.codes_of is not None:  # a store of codes has no stream to fit a baseline on
        return values_of
    train = np.flatnonzero(~split.held_out)
    fitted_on = labels.take(sample_rows(acts, labels, site, train, seed=data.search.seed))
    x, sample = acts.rows(site, fitted_on).float().numpy(), Sample.of(fitted_on)
    vectors = [fit_vector(x, sample.positive, sample.problem, method=method) for method in FITTED_BASELINES]
    projections = project(acts, labels, site, np.stack(vectors, axis=1))
    for method, values in zip(FITTED_BASELINES, projections.T, strict=True):
        values_of[method, -1] = values
    return values_of


def _log_odds(p: np.ndarray) -> np.ndarray:
    """A probability on the scale on which an onset model adds it up; the ranks are the same."""
    inside = np.clip(p, 1e-9, 1 - 1e-9)  # float32 probabilities do reach 0 and 1
    return np.log(inside) - np.log1p(-inside)
