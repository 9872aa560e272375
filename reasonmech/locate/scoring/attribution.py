"""Attribution: what every feature, where it is active, adds to a metric of what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from reasonmech.errors import DataError, MismatchError
from reasonmech.labels import Labels
from reasonmech.locate.p_values import adjusted, by_problem_p
from reasonmech.locate.rows.codes import Codes, encode_rows
from reasonmech.locate.rows.sample import Sample, Search, check_spans, hold_out, rows_of, take_rows
from reasonmech.locate.rows.stream import check_match
from reasonmech.locate.scoring.score import Columns, Discovered
from reasonmech.locate.search import make_table
from reasonmech.locate.table import FeatureTable
from reasonmech.rollout import Rollout
from reasonmech.runtime.gradients import gradients
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.readout import Readout
from reasonmech.stats import Interval, ratio_interval

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.hosts import Host
    from reasonmech.runtime.activations.activations import Activations

TEXTS: Final = 256  # whose gradients are in memory at once
PRODUCTS: Final = 2**22  # numbers in gradient x decoder row products


@final
@dataclass(frozen=True, eq=False)
class Onset:
    """How the onset of a behaviour is measured.

    Attributes:
        host: the model that the activations came from.
        rollouts: those that were labelled.
        metric: read after every labelled token, such as `rm.onset_log_odds`.
        rows: most labelled rows that a pass there and back is spent on, drawn at random beyond that.
        batch_rows: texts of one pass; halved, with a warning, where memory is short.
    """

    host: Host
    rollouts: Sequence[Rollout]
    metric: Readout
    rows: int = 2000
    batch_rows: int = 64


def attribute_onset(
    acts: Activations, labels: Labels, coder: SparseCoder, *, onset: Onset, search: Search | None = None
) -> FeatureTable:
    """Mean first-order effect of every feature, where it is read, on the metric of what comes next.

    At every labelled row, with gradient g of the metric there, activation f and decoder row w, the effect of
    feature i is f_i <g, w_i>: what the metric loses, to first order, when that one activation is set to zero
    (Syed et al. 2023, arXiv 2310.10348, section 2, with zero in place of a corrupt text; Marks et al. 2024,
    arXiv 2403.19647, section 2). Ranked by the mean over the training problems (sign 1: it pushes towards the
    onset), valued on the held-out ones, in the metric's unit. The error node, kind "error", is what the coder
    leaves of the stream. A detector that nobody reads scores nothing here; one that the next layers read
    scores, whether or not it tells the onset from the rest.

    Args:
        labels: rows; whether they are positive plays no part.
        onset: host, rollouts and metric.
        search: split, number of features valued, draws, seed, correction.

    Raises:
        MismatchError: activations, coder, labels and host do not belong together.
        DataError: fewer than 5 problems on either side; a metric without slope.
        NonFiniteError: the metric or its gradient is not finite.
    """
    search = search or Search()
    if onset.host.weight_hash != acts.host_hash:
        raise MismatchError(
            f"the activations are those of {acts.host_name!r}, the metric is read from {onset.host.name!r}",
            do="capture from the model that the metric is read from",
        )
    check_match(acts, labels, coder)
    n_spans = check_spans(labels, search)
    labels = at_most(labels, onset.rows, search.seed)
    effects = effects_of(acts, labels, coder, onset)
    held, score = hold_out(labels, search), _MeanEffect(onset.metric.unit)
    train, test = (take_rows(labels, np.ones((len(labels), 1)), rows) for rows in (~held, held))
    found = score.discover(effects.codes.take_rows(~held), train)
    best = np.lexsort((-found.value, found.sign <= 0))[: search.top]
    values = np.stack([*(effects.codes.column(int(i)) for i in best), effects.error], axis=1)
    intervals = score.held_out(Columns(values[~held], values[held]), train, test, search)
    frame = pd.DataFrame(
        {"kind": "feature", "feature": np.arange(coder.d_sae), "train_value": found.value, "sign": found.sign}
        | {"p": found.p, "p_adjusted": adjusted(found, search, score="attribution")}
        | {"rate": effects.rate, "mean_active": effects.mean_active}
    )
    names = [*(("feature", int(i)) for i in best), ("error", -1)]
    valued = pd.DataFrame(
        [(*name, i.estimate, i.low, i.high) for name, i in zip(names, intervals, strict=True)],
        columns=["kind", "feature", "value", "low", "high"],
    )
    frame = frame.merge(valued, on=["kind", "feature"], how="outer")
    frame = frame.assign(
        site=str(coder.site), score="attribution", unit=score.unit, correction=search.correction
    )
    return make_table(frame, labels, test, n_spans=n_spans)


class _MeanEffect:
    """The mean over rows, of problems that may differ in their number of rows."""

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def discover(self, codes: Codes, sample: Sample) -> Discovered:
        parts = codes.by_group(np.ones(len(sample)), sample.problem, sample.n_problems)
        p = by_problem_p(parts, codes.groups_touched(sample.problem, sample.n_problems))
        return Discovered(parts.sum(1) / len(sample), np.sign(parts.sum(1)), p, parts.astype(np.float32))

    def held_out(self, columns: Columns, train: Sample, test: Sample, search: Search) -> list[Interval]:
        rows = np.bincount(test.problem, minlength=test.n_problems)
        summed = (np.bincount(test.problem, values, test.n_problems) for values in columns.test.T)
        return [ratio_interval(one, rows, draws=search.draws, seed=search.seed) for one in summed]


class Effects(NamedTuple):
    """Effects [row, feature], that of the error node [row], and how features fire on the rows."""

    codes: Codes
    error: np.ndarray
    rate: np.ndarray
    mean_active: np.ndarray


def at_most(labels: Labels, most: int, seed: int) -> Labels:
    """The labels, or so many rows of them drawn at random."""
    if most < 1:
        raise DataError(f"{most} rows", allowed="at least one", do="2000 is usual")
    if len(labels) <= most:
        return labels
    return rows_of(labels, np.sort(np.random.default_rng([seed, 4]).choice(len(labels), most, replace=False)))


@torch.no_grad()
def effects_of(acts: Activations, labels: Labels, coder: SparseCoder, onset: Onset) -> Effects:
    """First-order effect on the metric of every feature, and of the error node, at every labelled row."""
    decoder = coder.rows(range(coder.d_sae)).float()
    effects, errors, fires = [], [], []
    for start in range(0, len(labels), TEXTS):
        some = rows_of(labels, slice(start, start + TEXTS))
        slope = _slopes(coder, some, onset)
        x = acts.rows(coder.site, some).float()
        codes = encode_rows(coder, x)
        products = _products(codes, slope.to(decoder.device), decoder)
        entries = (products, codes.rows, codes.starts)
        effects.append(sparse.csr_array(sparse.csc_array(entries, shape=codes.matrix.shape)))
        fires.append(sparse.csr_array(codes.matrix))
        rest = x.to(coder.device) - coder.decode(coder.encode(x.to(coder.device))).float()
        errors.append((slope.to(rest.device) * rest).sum(-1).double().cpu().numpy())
    firing = Codes(sparse.csc_array(sparse.vstack(fires)))
    return Effects(
        Codes(sparse.csc_array(sparse.vstack(effects))),
        np.concatenate(errors),
        firing.rate,
        firing.mean_active,
    )


def _slopes(coder: SparseCoder, labels: Labels, onset: Onset) -> Tensor:
    """[row, d_model] gradient of the metric with respect to the site at the last token of each prefix."""
    texts = []
    for rollout, position in zip(labels.rollout, labels.position, strict=True):
        whole = onset.rollouts[rollout]
        name = f"{whole.problem.id} up to position {position}"
        texts.append(PassRow(whole.all_ids[: position + 1], len(whole.prompt_ids), name))
    at = [(int(position),) for position in labels.position]
    found = gradients(onset.host, texts, at, [coder.site], onset.metric, batch_rows=onset.batch_rows)
    return found.gradient[coder.site].float()


def _products(codes: Codes, slope: Tensor, decoder: Tensor) -> np.ndarray:
    """[entry] activation x <gradient of its row, decoder row of its feature>."""
    row, feature = (
        torch.from_numpy(codes.rows.astype(np.int64)),
        torch.from_numpy(codes.features.astype(np.int64)),
    )
    size = max(1, PRODUCTS // decoder.shape[1])
    parts = [
        (slope[r.to(slope.device)] * decoder[f.to(decoder.device)]).sum(-1).double().cpu().numpy()
        for r, f in zip(row.split(size), feature.split(size), strict=True)
    ]
    return codes.values * np.concatenate(parts) if parts else np.zeros(0)
