"""AUROC of every feature at once, by ranks of the non-zero activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from reasonmech.locate.p_values import Discovered, by_problem_p
from reasonmech.locate.rows.codes import Codes
from reasonmech.locate.rows.sample import Sample, Search
from reasonmech.locate.scoring.detection import Columns, DetectionScore
from reasonmech.locate.scoring.score import scores
from reasonmech.stats import Interval
from reasonmech.stats import auroc as auroc_interval

ENTRIES = 4_000_000  # non-zero activations ranked at once


@scores.register("auroc")
@final
@dataclass(frozen=True)
class Auroc(DetectionScore):
    """P(activation at a positive > activation at a negative), ties counting half; 0.5 is chance."""

    unit = "AUROC"

    def discover(self, codes: Codes, sample: Sample) -> Discovered:
        pieces = [_discover(codes.take_features(block), sample) for block in _blocks(codes)]
        value, sign, p = (np.concatenate(field) for field in list(zip(*pieces, strict=True))[:3])
        parts = [piece.parts for piece in pieces if piece.parts is not None]
        return Discovered(value, sign, p, np.concatenate(parts))

    def held_out(self, columns: Columns, train: Sample, test: Sample, search: Search) -> list[Interval]:
        return [auroc_interval(values, test.positive, test.problem) for values in columns.test.T]


def auroc_columns(codes: Codes, positive: np.ndarray) -> np.ndarray:
    """AUROC [feature] of codes [row, feature] against positive [row]."""
    sample = Sample(positive, np.arange(len(positive)), np.ones((len(positive), 1)))
    return Auroc().discover(codes, sample).value


def _blocks(codes: Codes) -> list[slice]:
    """Ranges of features of at most `ENTRIES` non-zero activations, or of a single feature that has more."""
    edges = [0]
    for feature in range(1, codes.n_features + 1):
        if codes.starts[feature] - codes.starts[edges[-1]] > ENTRIES and feature - 1 > edges[-1]:
            edges.append(feature - 1)
    return [slice(start, stop) for start, stop in zip(edges, [*edges[1:], codes.n_features], strict=True)]


def _discover(codes: Codes, sample: Sample) -> Discovered:
    """AUROC and its parts by problem. Only non-zero activations are sorted: all zeros of a feature tie.

    `m` positive and `n` negative rows; a row beats what lies below it, and half of what ties with it.
    """
    n_features, feature = codes.n_features, codes.features
    label = sample.positive[codes.rows]
    m, n = int(sample.positive.sum()), int((~sample.positive).sum())
    zeros_pos = m - np.bincount(feature, label, n_features)
    zeros_neg = n - np.bincount(feature, ~label, n_features)

    beaten_neg, beaten_pos = _below(feature, codes.values, label)
    above = codes.values > 0
    beaten_neg += np.where(above, zeros_neg[feature], 0.0)
    beaten_pos += np.where(above, zeros_pos[feature], 0.0)
    # activations below zero, which zeros beat: a coder without a ReLU has them
    negative_below = np.bincount(feature, ~above & ~label, n_features)
    positive_below = np.bincount(feature, ~above & label, n_features)

    won_by_zero = negative_below + 0.5 * zeros_neg
    value = (np.bincount(feature, np.where(label, beaten_neg, 0.0), n_features) + zeros_pos * won_by_zero) / (
        m * n
    )
    rank = (beaten_neg + beaten_pos) / (m + n)
    parts = _parts(codes, sample, rank, (won_by_zero + positive_below + 0.5 * zeros_pos) / (m + n))
    p = by_problem_p(parts, codes.groups_touched(sample.problem, sample.n_problems))
    return Discovered(value, np.sign(value - 0.5), np.where(value == 0.5, 1.0, p), parts.astype(np.float32))


def _parts(codes: Codes, sample: Sample, rank: np.ndarray, rank_zero: np.ndarray) -> np.ndarray:
    """[feature, problem]: sum over a problem's rows of (label - mean label)(rank - 1/2), ranks as shares.

    Over all problems this adds up to m n / (m + n) (AUROC - 1/2): Wilcoxon's statistic, centred.
    """
    c = sample.positive - sample.positive.mean()
    cells = codes.features * sample.n_problems + sample.problem[codes.rows]
    weights = c[codes.rows] * (rank - rank_zero[codes.features])
    summed = np.bincount(cells, weights, codes.n_features * sample.n_problems)
    of_zeros = np.outer(rank_zero - 0.5, np.bincount(sample.problem, c, sample.n_problems))
    return summed.reshape(codes.n_features, sample.n_problems) + of_zeros


def _below(feature: np.ndarray, values: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per entry: non-zero negatives, and positives, of its feature that lie lower, ties counting half."""
    order = np.lexsort((values, feature))
    f, v, positive = feature[order], values[order], label[order]
    new_feature = np.r_[True, f[1:] != f[:-1]] if len(f) else np.zeros(0, bool)
    new_value = new_feature | (np.r_[True, v[1:] != v[:-1]] if len(v) else new_feature)
    results = []
    for counted in (~positive, positive):
        counts = np.concatenate([[0], np.cumsum(counted)])
        first_of_feature = np.maximum.accumulate(np.where(new_feature, np.arange(len(f)), 0))
        group = np.cumsum(new_value) - 1
        start = np.flatnonzero(new_value)
        stop = np.append(start[1:], len(f)) if len(start) else start
        lower = counts[start][group] - counts[first_of_feature]
        tied = (counts[stop] - counts[start])[group]
        by_entry = np.empty(len(f))
        by_entry[order] = lower + 0.5 * tied
        results.append(by_entry)
    return results[0], results[1]
