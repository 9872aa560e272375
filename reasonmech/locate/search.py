"""Locate: which features of a coder tell that a behaviour is here, or about to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reasonmech.errors import MismatchError, NonFiniteError
from reasonmech.labels import Labels
from reasonmech.locate.codes import encode_rows
from reasonmech.locate.context import Context, design_matrix, known_covariates
from reasonmech.locate.sample import Sample, Search, split_by_problem, take_rows
from reasonmech.locate.score import Columns, Score, scores
from reasonmech.locate.table import COLUMNS, FeatureTable, with_adjusted
from reasonmech.locate.vectors import fit_vector

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations import Activations

FITTED_BASELINES = ("diff_mean", "probe")
Detector = tuple[str, int]  # kind, and the feature's index (-1 for a baseline)


class _Split(NamedTuple):
    """Both sides of a search, and which rows are held out."""

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
    """Score every feature of `coder` as a detector of the labelled behaviour, with baselines in the same table.

    Problems are split once. On one side features are ranked (those that go with the behaviour first) and tested, with
    p-values clustered by problem and corrected over all features; on the other the best are valued, with intervals by
    problem. A difference of means and a logistic probe fitted on the first side, and the model's own onset probability
    where `context` has it, are valued in the same way. A feature that merely fires on a cue word is found too: see
    rung C2 of the ladder of claims.

    Args:
        acts: activations at `coder.site`, of the host that the coder was trained on.
        labels: rows; for mode "anticipates" each is read strictly before the behaviour could begin.
        score: "auroc", "hazard" (nats per boundary beyond the covariates), or a registered kind.
        context: covariates beyond position, boundary number and token read; the ceiling.
        search: split, number of features valued, draws, seed; None: `Search()`.

    Raises:
        UnknownNameError: no such score.
        MismatchError: the coder belongs to another model's weights, or has another width.
        NonFiniteError: NaN or infinite activations.
        DataError: too few problems with positive, or negative, rows on either side of the split.
    """
    scorer, search, context = scores.get(score)(), search or Search(), context or Context()
    context.check(labels)
    x = _checked_rows(acts, labels, coder)
    split = _split(acts, labels, context, search)
    codes = encode_rows(coder, x)

    found = scorer.discover(codes.take_rows(~split.held), split.train)
    best = np.lexsort((-found.value, found.sign <= 0))[: search.top]
    detectors: dict[Detector, np.ndarray] = {("feature", int(i)): codes.column(int(i)) for i in best}
    detectors |= _baselines(x, split, context)

    features = pd.DataFrame(
        {"kind": "feature", "feature": np.arange(codes.n_features), "train_value": found.value, "sign": found.sign}
        | {"p": found.p, "rate": codes.rate, "mean_active": codes.mean_active}
    )
    frame = features.merge(_value(scorer, detectors, split, search), on=["kind", "feature"], how="outer")
    frame = frame.assign(site=str(coder.site), score=score, unit=scorer.unit)
    return _table(with_adjusted(frame), labels, split.test)


def _checked_rows(acts: Activations, labels: Labels, coder: SparseCoder) -> Tensor:
    """Activations [row, d_model] at the coder's site, of the coder's own model, all finite."""
    if coder.model_hash is not None and coder.model_hash != acts.host_hash:
        raise MismatchError(
            f"coder {coder.name!r} was trained on weights {coder.model_hash[:12]}, the activations come from "
            f"{acts.host_hash[:12]}",
            allowed="activations of the model that the coder was trained on",
            do="capture from that model, or train a coder on these activations",
        )
    x = acts.rows(coder.site, labels).float()
    if x.shape[1] != coder.d_in:
        raise MismatchError(f"activations are {x.shape[1]} wide, coder {coder.name!r} reads {coder.d_in}")
    if not (finite := torch.isfinite(x).all(1).numpy()).all():
        bad = np.flatnonzero(~finite)
        raise NonFiniteError(
            f"{len(bad)} of {len(x)} labelled rows at {coder.site} are NaN or infinite, the first in problem "
            f"{str(labels.problem[bad[0]])!r} at position {labels.position[bad[0]]}",
            do="capture in a wider dtype, or leave the problem out",
        )
    return x


def _split(acts: Activations, labels: Labels, context: Context, search: Search) -> _Split:
    held = split_by_problem(labels, search)
    covariates = known_covariates(acts, labels)
    if context.covariates is not None:
        covariates = pd.concat([covariates, context.covariates.reset_index(drop=True)], axis=1)
    design = design_matrix(covariates, ~held)
    return _Split(take_rows(labels, design, ~held), take_rows(labels, design, held), held)


def _baselines(x: Tensor, split: _Split, context: Context) -> dict[Detector, np.ndarray]:
    """One value per row for each baseline: projections fitted on the training rows, and the ceiling."""
    rows = x.numpy()
    found: dict[Detector, np.ndarray] = {}
    for method in FITTED_BASELINES:
        vector = fit_vector(rows[~split.held], split.train.positive, split.train.problem, method=method)
        found[method, -1] = rows @ vector
    if context.ceiling is not None:
        found["ceiling", -1] = _log_odds(np.asarray(context.ceiling, dtype=np.float64))
    return found


def _table(frame: pd.DataFrame, labels: Labels, test: Sample) -> FeatureTable:
    n_pos = int(test.positive.sum())
    counts = {"n_pos": n_pos, "n_neg": len(test) - n_pos, "n_problems": test.n_problems}
    frame = frame.assign(behaviour=labels.behaviour, mode=labels.mode, **counts)
    return FeatureTable(frame.reindex(columns=list(COLUMNS)))


def _log_odds(p: np.ndarray) -> np.ndarray:
    """A probability on the scale on which an onset model adds it up; the ranks are the same."""
    inside = np.clip(p, 1e-9, 1 - 1e-9)
    return np.log(inside) - np.log1p(-inside)


def _value(scorer: Score, detectors: dict[Detector, np.ndarray], split: _Split, search: Search) -> pd.DataFrame:
    values = np.stack(list(detectors.values()), axis=1).astype(np.float64)
    intervals = scorer.held_out(Columns(values[~split.held], values[split.held]), split.train, split.test, search)
    return pd.DataFrame(
        [
            {"kind": kind, "feature": feature, "value": i.estimate, "low": i.low, "high": i.high}
            for (kind, feature), i in zip(detectors, intervals, strict=True)
        ]
    )
