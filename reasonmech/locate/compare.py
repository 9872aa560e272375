"""Compare: a group of features, the best single one, a difference of means and a probe, at equal tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.labels import Labels
from reasonmech.locate.rows.checks import check_is_activations, check_is_coder, check_is_labels
from reasonmech.locate.rows.codes import Codes
from reasonmech.locate.rows.sample import CLAIM_SPANS, Sample, Search, check_spans, split_by_problem
from reasonmech.locate.rows.stream import encode, project, sample_rows
from reasonmech.locate.scoring.auroc import Auroc
from reasonmech.site import Site
from reasonmech.stats import LEVEL
from reasonmech.stats import auroc as auroc_interval
from reasonmech.stats.auroc import influence
from reasonmech.stats.logistic import fit_logistic

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations

FOLDS: Final = 3
LOWER: Final = 0.02  # AUROC below the better baseline beyond which the headline says so
SETTINGS: Final = {
    "group": (1.0, 2.0, 4.0, 8.0, 16.0),  # features
    "single": (0.0, 1.0, 2.0, 3.0, 4.0),  # place in the training ranking
    # shrinkage of the within-class covariance; at 1 the plain difference
    "diff_mean": (1.0, 0.9, 0.5, 0.1, 0.01),
    "probe": (1.0, 10.0, 100.0, 1e3, 1e4),  # ridge penalty
}


@checked
@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """Made by `compare_detectors`.

    Attributes:
        frame: one row per detector: detector ("group", "single", "diff_mean", "probe"), value, low, high
            (held-out AUROC, 95 % by problem), ahead, ahead_low, ahead_high (its AUROC minus the group's,
            paired by problem), tried (settings), chosen (the setting), inner (its AUROC in the inner folds,
            by which it was chosen).
        behaviour, site: what was detected, and where.
        features: the group, best first.
        exploratory: fewer than 30 positive spans.
    """

    frame: pd.DataFrame
    behaviour: str
    site: str
    features: tuple[int, ...]
    exploratory: bool

    @property
    def sae_is_lower(self) -> bool:
        """The group is more than 0.02 below the better of the two baselines."""
        return bool(self._gap > LOWER)

    @property
    def headline(self) -> str:
        """One sentence that a report has to begin with."""
        value = self._values
        best = max("diff_mean", "probe", key=value.__getitem__)
        group = f"group of {len(self.features)} SAE features at {self.site} detects {self.behaviour}"
        numbers = f"AUROC {value['group']:.3f}, {best} of the raw stream with {value[best]:.3f}"
        lead = f"The SAE is LOWER by {self._gap:.3f}" if self.sae_is_lower else "The SAE is not lower"
        mark = " (exploratory: fewer than 30 positive spans)" if self.exploratory else ""
        return f"{lead}: a {group} with {numbers}, held out, at equal tuning{mark}."

    @property
    def _gap(self) -> float:
        value = self._values
        return max(value["diff_mean"], value["probe"]) - value["group"]

    @property
    def _values(self) -> dict[str, float]:
        return {
            str(name): float(v) for name, v in zip(self.frame["detector"], self.frame["value"], strict=True)
        }

    def __repr__(self) -> str:
        return f"Comparison({self.headline})"

    def _repr_html_(self) -> str:
        return f"<p>{self.headline}</p>" + self.frame.to_html(index=False, float_format="%.3f")


def compare_detectors(
    acts: Activations, labels: Labels, coder: SparseCoder, *, search: Search | None = None
) -> Comparison:
    """How well a group of features detects a behaviour, beside what one gets without the coder.

    Every family has five settings and the same three inner folds of the training problems to choose one by
    AUROC: the group its size (ridge logistic regression over the features furthest from AUROC 1/2), the
    single feature its place in that ranking, the difference of means a shrinkage of the within-class
    covariance (at 1 it is the plain difference, near 0 Fisher's discriminant), the probe its penalty. Then
    each is fitted on all training rows and valued once on the held-out ones. A feature chosen among thousands
    beside a baseline with one setting is no comparison.

    Args:
        labels: rows; hold no problem back: they are split here, as by `locate` with the same search.
        search: split, draws, seed, claim.

    Raises:
        MismatchError, NonFiniteError: as `locate`.
        DataError: too few problems with positive, or negative, rows; no feature fires on the training rows;
            fewer than 30 positive spans where `search.claim`.
    """
    check_is_activations(acts)
    check_is_labels(labels)
    check_is_coder(coder)
    search = search or Search()
    n_spans = check_spans(labels, search)
    codes = encode(acts, labels, coder)
    held_out = split_by_problem(labels, search)
    rows = sample_rows(acts, labels, coder.site, np.flatnonzero(~held_out), seed=search.seed)
    train = labels.take(rows)
    x = acts.rows(coder.site, train).double().numpy()
    data = _Data(codes.take_rows(rows), x, Sample.of(train))
    if not data.codes.rate.any():
        raise DataError(f"no feature of {coder.name!r} fires on the training rows", do="check site and scale")
    inner = _inner(data, search.seed)
    chosen = {name: settings[int(np.argmax(inner[name]))] for name, settings in SETTINGS.items()}
    test, test_codes = labels.take(held_out), codes.take_rows(held_out)
    fitted = {name: _fit(name, setting, data) for name, setting in chosen.items()}
    values = {name: _read(weights, test_codes, acts, test, coder.site) for name, weights in fitted.items()}
    frame = pd.DataFrame(_valued(values, test)).assign(
        tried=[len(settings) for settings in SETTINGS.values()],
        chosen=list(chosen.values()),
        inner=[float(np.max(by_setting)) for by_setting in inner.values()],
        definition=labels.definition,
    )
    group = tuple(int(i) for i in fitted["group"].columns)
    return Comparison(frame, labels.behaviour, str(coder.site), group, n_spans < CLAIM_SPANS)


class _Data(NamedTuple):
    """Training rows: codes, stream [row, d_model], labels by problem."""

    codes: Codes
    x: np.ndarray
    sample: Sample

    def take(self, rows: np.ndarray) -> _Data:
        return _Data(self.codes.take_rows(rows), self.x[rows], self.sample.take(rows))

    def ranking(self) -> np.ndarray:
        """[feature] signed distance of AUROC from 1/2, in place of which those that never fire have 0."""
        return Auroc().discover(self.codes, self.sample).value - 0.5


class _Fitted(NamedTuple):
    """Weights [n] of features (`columns`), or of the stream's dimensions (no columns)."""

    columns: np.ndarray
    weights: np.ndarray


def _fit(name: str, setting: float, data: _Data) -> _Fitted:
    stream, positive = np.zeros(0, dtype=int), data.sample.positive
    if name == "probe":
        return _Fitted(stream, _logistic(data.x, positive, l2=setting))
    if name == "diff_mean":
        return _Fitted(stream, _shrunk_diff_mean(data.x, positive, shrinkage=setting))
    ranking = data.ranking()
    order = np.argsort(-np.abs(ranking), kind="stable")
    if name == "single":
        columns = order[int(setting) : int(setting) + 1]
        return _Fitted(columns, np.where(ranking[columns] < 0, -1.0, 1.0))
    columns = order[: int(setting)]
    dense = np.stack([data.codes.column(int(i)) for i in columns], axis=1)
    return _Fitted(columns, _logistic(dense, positive, l2=1.0))


def _logistic(x: np.ndarray, positive: np.ndarray, *, l2: float) -> np.ndarray:
    """Weights of raw columns; what does not vary gets none."""
    sd = x.std(0)
    scale = np.where(sd > 0, sd, 1.0)
    return fit_logistic(np.c_[np.ones(len(x)), (x - x.mean(0)) / scale], positive, l2=l2)[1:] / scale


def _shrunk_diff_mean(x: np.ndarray, positive: np.ndarray, *, shrinkage: float) -> np.ndarray:
    """((1 - s) W + s tr(W) / d)^-1 (mean of positives - mean of others), W the covariance within classes."""
    gap = x[positive].mean(0) - x[~positive].mean(0)
    if shrinkage == 1:
        return gap
    within = np.concatenate([x[rows] - x[rows].mean(0) for rows in (positive, ~positive)])
    covariance = within.T @ within / len(x)
    ridge = shrinkage * np.trace(covariance) / len(covariance)
    return np.linalg.solve((1 - shrinkage) * covariance + ridge * np.eye(len(covariance)), gap)


def _inner(data: _Data, seed: int) -> dict[str, np.ndarray]:
    """Family -> [setting] AUROC on problems left out, mean over the folds that hold both kinds of row."""
    n = data.sample.n_problems
    fold = (np.random.default_rng([seed, 6]).permutation(n) % FOLDS)[data.sample.problem]
    by_fold: dict[str, list[list[float]]] = {name: [] for name in SETTINGS}
    for number in range(FOLDS):
        inside, outside = (data.take(np.flatnonzero(rows)) for rows in (fold != number, fold == number))
        if any(len(np.unique(part.sample.positive)) < 2 for part in (inside, outside)):
            continue  # a fold with one kind of row has no AUROC
        for name, settings in SETTINGS.items():
            fitted = [_fit(name, setting, inside) for setting in settings]
            values = (_values(weights, outside.codes, outside.x) for weights in fitted)
            by_fold[name].append([area(value, outside.sample.positive) for value in values])
    if not by_fold["probe"]:
        raise DataError(f"no fold of {n} training problems holds both kinds of row", do="use more problems")
    return {name: np.mean(areas, axis=0) for name, areas in by_fold.items()}


def _values(fitted: _Fitted, codes: Codes, x: np.ndarray) -> np.ndarray:
    if len(fitted.columns):
        return np.stack([codes.column(int(i)) for i in fitted.columns], axis=1) @ fitted.weights
    return x @ fitted.weights


def _read(fitted: _Fitted, codes: Codes, acts: Activations, labels: Labels, site: Site) -> np.ndarray:
    """Values [row] of a detector on rows whose stream is read chunk by chunk."""
    if len(fitted.columns):
        return _values(fitted, codes, np.zeros(0))
    return project(acts, labels, site, fitted.weights[:, None])[:, 0]


def area(values: np.ndarray, positive: np.ndarray) -> float:
    """AUROC of values [row], ties counting half."""
    rank, m = scipy_stats.rankdata(values), int(positive.sum())
    return float((rank[positive].sum() - m * (m + 1) / 2) / (m * (len(values) - m)))


def _valued(values: Mapping[str, np.ndarray], test: Labels) -> Iterator[dict[str, object]]:
    """A row of the frame for every detector."""
    parts = {name: influence(value, test.positive, test.problem) for name, value in values.items()}
    group, psi_of_group = parts["group"]
    for name, value in values.items():
        interval = auroc_interval(value, test.positive, test.problem)
        psi = parts[name][1] - psi_of_group
        quantile = scipy_stats.t.ppf((1 + LEVEL) / 2, len(psi) - 1)
        half = float(quantile * np.sqrt((psi**2).sum() * len(psi) / (len(psi) - 1)))
        ahead = interval.estimate - group
        yield {
            "detector": name,
            "value": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "ahead": ahead,
            "ahead_low": ahead - half,
            "ahead_high": ahead + half,
        }
