"""Attribution: what every feature, where it is active, adds to a metric of what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.digest import check_model, identity_of
from reasonmech.door import checked
from reasonmech.hosts.host import Host
from reasonmech.labels import Labels
from reasonmech.locate.p_values import Discovered, by_problem_p
from reasonmech.locate.rows.checks import check_match
from reasonmech.locate.rows.codes import Codes, Firing, encode_rows
from reasonmech.locate.rows.sample import Sample, Search, at_most, check_spans, hold_out
from reasonmech.locate.scoring.detection import valued
from reasonmech.locate.scoring.score import ROWS, Measured, Need, Score, SearchData, scores
from reasonmech.metrics import TextMetric, as_text_metric
from reasonmech.ranges import Positive
from reasonmech.rollout import Rollout
from reasonmech.runtime.gradients import gradients
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.readout import Readout
from reasonmech.runtime.streams import ChosenTokens
from reasonmech.stats import Interval, ratio_interval

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations

TEXTS: Final = 256  # whose gradients are in memory at once
PRODUCTS: Final = 2**22  # numbers in gradient x decoder row products
ONSET: Final = Need(
    "onset",
    "a metric of what comes next, and the model and rollouts that it is read from",
    "rm.features.OnsetAttribution(rm.features.Onset(host, rollouts, metric)), "
    'metric = rm.onset_log_odds(host, ["wait", "hmm"])',
)


@checked
@final
@dataclass(frozen=True, eq=False)
class Onset:
    """How the onset of a behaviour is measured.

    Attributes:
        host: the model that the activations came from.
        rollouts: those that were labelled.
        metric: read after every labelled token, such as `rm.onset_log_odds`; or the name of one that needs no
            settings.
        rows: most labelled rows that a pass there and back is spent on, drawn at random beyond that.
        batch_rows: texts of one pass; halved, with a warning, where memory is short.
    """

    host: Host
    rollouts: Sequence[Rollout]
    metric: TextMetric
    rows: Positive = 2000
    batch_rows: Positive = 64

    def __post_init__(self) -> None:
        check_type(self.host, Host, name="host", allowed="a host", do="Onset(host, rollouts, metric)")

        _ = self.readout  # refuses what is no metric now, not after the rollouts have been encoded

    @cached_property
    def readout(self) -> Readout:
        """The metric itself."""
        return as_text_metric(self.host, self.metric)

    def __repr__(self) -> str:
        return f"Onset({self.readout.name} of {self.host.name!r} in {len(self.rollouts)} rollouts)"


@scores.register("attribution")
@final
@dataclass(frozen=True, eq=False)
class OnsetAttribution(Score):
    """Mean first-order effect of every feature, where it is read, on the metric of what comes next.

    At every labelled row, with gradient g of the metric there, activation f and decoder row w, the effect of
    feature i is f_i <g, w_i>: what the metric loses, to first order, when that one activation is set to zero
    (Syed et al. 2023, arXiv 2310.10348, section 2, with zero in place of a corrupt text; Marks et al. 2024,
    arXiv 2403.19647, section 2). Ranked by the mean over the training problems (sign 1: it pushes towards the
    onset), valued on the held-out ones, in the metric's unit. The error node, kind "error", is what the coder
    leaves of the stream. A detector that nobody reads scores nothing here; one that the next layers read
    scores, whether or not it tells the onset from the rest.

    Measuring raises MismatchError where activations, coder, labels and host do not belong together, DataError
    on fewer than 5 problems on either side or a metric without slope, and NonFiniteError where the metric or
    its gradient is not finite.

    Attributes:
        onset: host, rollouts and metric.
    """

    onset: Onset
    unit: str = field(init=False)
    needs = (ROWS, ONSET)

    def __post_init__(self) -> None:
        check_type(self.onset, Onset, name="onset", allowed=ONSET.what, do=ONSET.give)
        object.__setattr__(self, "unit", self.onset.readout.unit)

    def measure(self, data: SearchData) -> Measured:
        acts, coder, search, onset = data.acts, data.coder, data.search, self.onset
        check_model(
            f"the metric is read from {onset.host.name!r}, weights",
            onset.host.model_identity(),
            identity_of(acts, acts.host_hash),
            model=f"the model {acts.host_name!r} of the activations",
            do="capture from the model that the metric is read from",
        )
        check_match(acts, data.labels, coder)
        check_spans(data.labels, search)
        labels = at_most(data.labels, onset.rows, search.seed)
        effects = first_order_effects(acts, labels, coder, onset)
        held_out = hold_out(labels, search)
        discovered = _discover(effects.codes.take_rows(~held_out), Sample.of(labels.take(~held_out)))
        best = discovered.best(search.top).tolist()
        values = np.stack([*(effects.codes.column(i) for i in best), effects.error], axis=1)
        test = Sample.of(labels.take(held_out))
        detectors = [*(("feature", i) for i in best), ("error", -1)]
        intervals = [_mean_by_problem(column, test, search) for column in values[held_out].T]
        return Measured(data.labels, test, discovered, effects.firing, valued(detectors, intervals))


def _discover(codes: Codes, sample: Sample) -> Discovered:
    """The mean over rows, of problems that may differ in their number of rows."""
    parts = codes.by_group(np.ones(len(sample)), sample.problem, sample.n_problems)
    p = by_problem_p(parts, codes.groups_touched(sample.problem, sample.n_problems))
    return Discovered(parts.sum(1) / len(sample), np.sign(parts.sum(1)), p, parts.astype(np.float32))


def _mean_by_problem(values: np.ndarray, sample: Sample, search: Search) -> Interval:
    rows = np.bincount(sample.problem, minlength=sample.n_problems)
    summed = np.bincount(sample.problem, values, sample.n_problems)
    return ratio_interval(summed, rows, draws=search.draws, seed=search.seed)


class FirstOrderEffects(NamedTuple):
    """Effects [row, feature], that of the error node [row], and how features fire on the rows."""

    codes: Codes
    error: np.ndarray
    firing: Firing


@torch.no_grad()
def first_order_effects(
    acts: Activations, labels: Labels, coder: SparseCoder, onset: Onset
) -> FirstOrderEffects:
    """First-order effect on the metric of every feature, and of the error node, at every labelled row."""
    decoder = coder.rows(range(coder.d_sae)).float()
    effects, errors, activations = [], [], []
    for start in range(0, len(labels), TEXTS):
        batch = labels.take(slice(start, start + TEXTS))
        slope = _slopes(coder, batch, onset)
        x = acts.rows(coder.site, batch).float()
        codes = encode_rows(coder, x)
        products = _products(codes, slope.to(decoder.device), decoder)
        entries = (products, codes.rows, codes.starts)
        effects.append(sparse.csr_array(sparse.csc_array(entries, shape=codes.matrix.shape)))
        activations.append(sparse.csr_array(codes.matrix))
        rest = x.to(coder.device) - coder.decode(coder.encode(x.to(coder.device))).float()
        errors.append((slope.to(rest.device) * rest).sum(-1).double().cpu().numpy())
    return FirstOrderEffects(
        Codes(sparse.csc_array(sparse.vstack(effects))),
        np.concatenate(errors),
        Codes(sparse.csc_array(sparse.vstack(activations))).firing,
    )


def _slopes(coder: SparseCoder, labels: Labels, onset: Onset) -> Tensor:
    """[row, d_model] gradient of the metric with respect to the site at the last token of each prefix."""
    labels.check_rollouts(onset.rollouts)
    texts = []
    for r, position in zip(labels.rollout, labels.position, strict=True):
        rollout = onset.rollouts[r]
        name = f"{rollout.problem.id} up to position {position}"
        texts.append(PassRow(rollout.all_ids[: position + 1], len(rollout.prompt_ids), name))
    tokens = ChosenTokens(texts, [(int(position),) for position in labels.position])
    slopes = gradients(onset.host, tokens, [coder.site], onset.readout, batch_rows=onset.batch_rows)
    return slopes.gradient[coder.site].float()


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
