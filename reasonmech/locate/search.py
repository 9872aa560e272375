"""Locate: which features of a coder tell that a behaviour is here, or about to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reasonmech.arguments import check_type
from reasonmech.errors import ArgumentError
from reasonmech.labels import Labels
from reasonmech.locate.p_values import adjusted
from reasonmech.locate.rows.checks import LABELLING, check_is_activations, check_is_coder, check_is_labels
from reasonmech.locate.rows.context import Context
from reasonmech.locate.rows.sample import CLAIM_SPANS, Search, count_spans
from reasonmech.locate.scoring.score import Measured, Score, SearchData, as_score, kind_of
from reasonmech.locate.table import COLUMNS, MARKS, FeatureTable

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations


def locate(
    acts: Activations,
    labels: Labels | None,
    coder: SparseCoder,
    *,
    score: str | Score = "auroc",
    context: Context | None = None,
    search: Search | None = None,
) -> FeatureTable:
    """Score every feature of `coder` for the labelled behaviour, with baselines in the same table.

    With a score of detection ("auroc", "hazard", "cohen_d") problems are split once. On one side features are
    ranked (those that go with the behaviour first) and tested, with p-values clustered by problem and
    corrected over all features; on the other the best are valued, with intervals by problem. A difference of
    means and a logistic probe fitted on the first side, and the model's own onset probability where `context`
    has it, are valued in the same way. A feature that merely fires on a cue word is found too: see rung C2 of
    the ladder of claims. What the other scores do is said by their classes.

    Args:
        acts: activations at `coder.site`, of the host that the coder was trained on. A store of codes
            (`Keep(codes=)`) holds no stream: features are searched among the codes kept, and the two fitted
            baselines are not there.
        labels: rows; for mode "anticipates" each is read strictly before the behaviour could begin. None for
            a score that needs none, such as `ReasonScore`.
        score: the kind of a score that needs nothing but labels, "hazard" say (nats per boundary beyond the
            covariates); or a score that carries what it needs, `LatentScaling(sibling=acts2)` say.
        context: covariates beyond position, boundary number and token read; the ceiling.
        search: split, number of features valued, draws, seed, correction; None: `Search()`.

    Raises:
        ArgumentError: an argument is of the wrong type, or the score lacks what it needs.
        UnknownNameError: no such score.
        MismatchError: the coder belongs to another model's weights, or has another width; the labels were
            made from other rollouts.
        NonFiniteError: NaN or infinite activations.
        DataError: too few problems with positive, or negative, rows on either side of the split; fewer than
            30 positive spans where `search.claim`; a label at what was not captured.
    """
    check_is_activations(acts)
    check_is_coder(coder)
    if labels is not None:
        check_is_labels(labels)
    chosen = as_score(score)
    kind = kind_of(chosen)
    if labels is None and any(need.name == "labels" for need in chosen.needs):
        raise ArgumentError(f"score {kind!r} needs labels, and there are none", do=LABELLING)
    if context is not None:
        check_type(context, Context, name="context", allowed="a Context", do="Context(covariates=frame)")
        if not chosen.reads_context:
            raise ArgumentError(
                f"score {kind!r} reads no context", do="leave it out: it would change nothing"
            )
    if search is not None:
        check_type(search, Search, name="search", allowed="a Search", do="Search(top=8, draws=500)")
    data = SearchData(acts, labels, coder, context or Context(), search or Search())
    return _table(chosen.measure(data), data, kind=kind, unit=chosen.unit)


def _table(measured: Measured, data: SearchData, *, kind: str, unit: str) -> FeatureTable:
    """What a score measured, with what was labelled and held out."""
    labels, test, discovered = measured.labels, measured.test, measured.discovered
    features = pd.DataFrame(
        {
            "kind": "feature",
            "feature": np.arange(len(discovered.value)),
            "train_value": discovered.value,
            "sign": discovered.sign,
            "p": discovered.p,
            "p_adjusted": adjusted(discovered, data.search, score=kind),
            "rate": measured.firing.rate,
            "mean_active": measured.firing.mean_active,
        }
    )
    frame = features.merge(measured.valued, on=["kind", "feature"], how="outer")
    n_pos, n_spans = int(test.positive.sum()), count_spans(labels)
    frame = frame.assign(
        site=str(data.coder.site),
        score=kind,
        unit=unit,
        correction=data.search.correction if discovered.p_adjusted is None else "max_t",
        behaviour=labels.behaviour,
        mode=labels.mode,
        definition=labels.definition,
        exploratory=n_spans < CLAIM_SPANS,
        n_pos=n_pos,
        n_neg=len(test) - n_pos,
        n_problems=test.n_problems,
        n_spans=n_spans,
    )
    further = [name for name in frame if name not in COLUMNS and name not in MARKS]
    return FeatureTable(frame.reindex(columns=[*COLUMNS, *MARKS, *further]))
