"""Locate: which features of a coder tell that a behaviour is here, or about to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from reasonmech.labels import Labels
from reasonmech.locate.directions import fit_vector
from reasonmech.locate.p_values import adjusted
from reasonmech.locate.rows.context import Context, design_matrix, known_covariates
from reasonmech.locate.rows.sample import (
    CLAIM_SPANS,
    Sample,
    Search,
    check_spans,
    rows_of,
    split_by_problem,
    take_rows,
)
from reasonmech.locate.rows.stream import encode, project, sample_rows
from reasonmech.locate.scoring.score import Columns, Score, scores
from reasonmech.locate.table import COLUMNS, MARKS, FeatureTable

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations
    from reasonmech.site import Site

FITTED_BASELINES = ("diff_mean", "probe")
Detector = tuple[str, int]  # kind, and the feature's index (-1 for a baseline)


class Split(NamedTuple):
    """Both sides of a search, and which rows [row] are held out."""

    train: Sample
    test: Sample
    held: np.ndarray


def locate(
    acts: Activations,
    labels: Labels,
    coder: SparseCoder,
    *,
    score: str = "auroc",
    context: Context | None = None,
    search: Search | None = None,
) -> FeatureTable:
    """Score every feature of `coder` as a detector of the labelled behaviour, with baselines in the same
    table.

    Problems are split once. On one side features are ranked (those that go with the behaviour first) and
    tested, with p-values clustered by problem and corrected over all features; on the other the best are
    valued, with intervals by problem. A difference of means and a logistic probe fitted on the first side,
    and the model's own onset probability where `context` has it, are valued in the same way. A feature that
    merely fires on a cue word is found too: see rung C2 of the ladder of claims.

    Args:
        acts: activations at `coder.site`, of the host that the coder was trained on. A store of codes
            (`Keep(codes=)`) holds no stream: features are searched among the codes kept, and the two fitted
            baselines are not there.
        labels: rows; for mode "anticipates" each is read strictly before the behaviour could begin.
        score: "auroc", "hazard" (nats per boundary beyond the covariates), "cohen_d", or a registered kind.
        context: covariates beyond position, boundary number and token read; the ceiling.
        search: split, number of features valued, draws, seed, correction; None: `Search()`.

    Raises:
        UnknownNameError: no such score.
        MismatchError: the coder belongs to another model's weights, or has another width; the labels were
            made from other rollouts.
        NonFiniteError: NaN or infinite activations.
        DataError: too few problems with positive, or negative, rows on either side of the split; fewer than
            30 positive spans where `search.claim`; a label at what was not captured.
    """
    scorer, search, context = scores.get(score)(), search or Search(), context or Context()
    context.check(labels)
    n_spans = check_spans(labels, search)
    codes = encode(acts, labels, coder)
    split = split_rows(acts, labels, context, search)

    found = scorer.discover(codes.take_rows(~split.held), split.train)
    best = np.lexsort((-found.value, found.sign <= 0))[: search.top]
    detectors: dict[Detector, np.ndarray] = {("feature", int(i)): codes.column(int(i)) for i in best}
    detectors |= _baselines(acts, labels, coder.site, split, context, search)

    features = pd.DataFrame(
        {
            "kind": "feature",
            "feature": np.arange(codes.n_features),
            "train_value": found.value,
            "sign": found.sign,
        }
        | {"p": found.p, "p_adjusted": adjusted(found, search, score=score)}
        | {"rate": codes.rate, "mean_active": codes.mean_active}
    )
    frame = features.merge(_value(scorer, detectors, split, search), on=["kind", "feature"], how="outer")
    frame = frame.assign(site=str(coder.site), score=score, unit=scorer.unit, correction=search.correction)
    return make_table(frame, labels, split.test, n_spans=n_spans)


def split_rows(acts: Activations, labels: Labels, context: Context, search: Search) -> Split:
    """Both sides of a search, with what is known at every row without any feature."""
    held = split_by_problem(labels, search)
    covariates = known_covariates(acts, labels)
    if context.covariates is not None:
        covariates = pd.concat([covariates, context.covariates.reset_index(drop=True)], axis=1)
    design = design_matrix(covariates, ~held)
    _, token = np.unique(covariates["delimiter"].to_numpy(), return_inverse=True)
    return Split(take_rows(labels, design, ~held, token), take_rows(labels, design, held, token), held)


def _baselines(
    acts: Activations, labels: Labels, site: Site, split: Split, context: Context, search: Search
) -> dict[Detector, np.ndarray]:
    """One value per row for each baseline: projections fitted on the training rows, and the ceiling."""
    found: dict[Detector, np.ndarray] = {}
    if context.ceiling is not None:
        found["ceiling", -1] = _log_odds(np.asarray(context.ceiling, dtype=np.float64))
    if acts.codes_of is not None:
        return found
    fitted = sample_rows(acts, labels, site, np.flatnonzero(~split.held), seed=search.seed)
    some = rows_of(labels, fitted)
    x, (_, problem) = acts.rows(site, some).float().numpy(), np.unique(some.problem, return_inverse=True)
    vectors = [fit_vector(x, some.positive, problem, method=method) for method in FITTED_BASELINES]
    for method, values in zip(
        FITTED_BASELINES, project(acts, labels, site, np.stack(vectors, axis=1)).T, strict=True
    ):
        found[method, -1] = values
    return found


def make_table(frame: pd.DataFrame, labels: Labels, test: Sample, *, n_spans: int) -> FeatureTable:
    """The table of a search: its frame, and what was labelled and held out."""
    n_pos = int(test.positive.sum())
    counts = {"n_pos": n_pos, "n_neg": len(test) - n_pos, "n_problems": test.n_problems, "n_spans": n_spans}
    frame = frame.assign(
        behaviour=labels.behaviour, mode=labels.mode, exploratory=n_spans < CLAIM_SPANS, **counts
    )
    own = [name for name in frame if name not in COLUMNS and name not in MARKS]
    return FeatureTable(frame.reindex(columns=[*COLUMNS, *MARKS, *own]))


def _log_odds(p: np.ndarray) -> np.ndarray:
    """A probability on the scale on which an onset model adds it up; the ranks are the same."""
    inside = np.clip(p, 1e-9, 1 - 1e-9)
    return np.log(inside) - np.log1p(-inside)


def _value(
    scorer: Score, detectors: dict[Detector, np.ndarray], split: Split, search: Search
) -> pd.DataFrame:
    values = np.stack(list(detectors.values()), axis=1).astype(np.float64)
    intervals = scorer.held_out(
        Columns(values[~split.held], values[split.held]), split.train, split.test, search
    )
    return pd.DataFrame(
        [
            {"kind": kind, "feature": feature, "value": i.estimate, "low": i.low, "high": i.high}
            for (kind, feature), i in zip(detectors, intervals, strict=True)
        ]
    )
