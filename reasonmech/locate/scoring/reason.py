"""ReasonScore: features active around chosen words and little elsewhere; shuffled words are its null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from torch import no_grad

from reasonmech.locate.rows.codes import Codes, encode_rows
from reasonmech.locate.rows.sample import Sample, Search, check_spans, split_by_problem, take_rows
from reasonmech.locate.rows.stream import check_match, chunks
from reasonmech.locate.scoring.windows import Windows
from reasonmech.locate.search import make_table
from reasonmech.locate.table import FeatureTable
from reasonmech.stats import LEVEL, bootstrap_weights

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations

Groups: TypeAlias = tuple[tuple[int, ...], ...]  # token ids of every word of a set

ALPHA = 0.7  # the published exponent of the entropy


class Sums(NamedTuple):
    """Activation summed over rows, times the norm of the feature's decoder row.

    Attributes:
        near, far: [..., feature] over the rows in, and outside, windows.
        word: [..., word, feature] mean over the window of each word, up to a common factor.
        all_near, all_far: [..., 1] the sums of `near` and `far` over all features of the coder.
    """

    near: np.ndarray
    far: np.ndarray
    word: np.ndarray
    all_near: np.ndarray
    all_far: np.ndarray


def reason_scores(sums: Sums, *, alpha: float = ALPHA) -> np.ndarray:
    """[..., feature]: near / sum_j near_j H^alpha - far / sum_j far_j (Galichin et al. 2025, arXiv
    2503.18878, sec. 3).

    H is the entropy of a feature's mean activation over the words, as a share of log(number of words): a
    feature of one word alone gets nothing for it. With a single word H is left out. A feature that never
    fires scores 0.
    """

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)

    n_words = sums.word.shape[-2]
    evenness = np.ones(sums.near.shape)
    if n_words > 1:
        p = share(sums.word, sums.word.sum(-2, keepdims=True))
        evenness = -(p * np.log(np.where(p > 0, p, 1.0))).sum(-2) / np.log(n_words)
    return share(sums.near, sums.all_near) * evenness.clip(0) ** alpha - share(sums.far, sums.all_far)


def reason_score(
    acts: Activations,
    words: Windows,
    coder: SparseCoder,
    *,
    alpha: float = ALPHA,
    shuffles: int = 99,
    search: Search | None = None,
) -> FeatureTable:
    """ReasonScore of every feature, and how often as many other words of like frequency score as high.

    The score has no null in its paper, which takes the features above its 0.997 quantile: some feature is the
    best for any words. `p` is the share of shuffled sets of words under which the feature scores as high as
    under yours, `p_adjusted` that of the sets under which any feature does. Ranked on the training problems
    (sign 1: active near the words), valued for the best `search.top` on the held-out ones, with intervals by
    problem. What it finds goes with words, not with what they do. Everything is streamed: the codes of one
    chunk are in memory at once.

    Args:
        words: from `word_windows`.
        alpha: exponent of the entropy.
        shuffles: shuffled sets of words.
        search: split, number of features valued, draws and seed; its correction is not used.

    Raises:
        MismatchError: the coder belongs to another model's weights. NonFiniteError: NaN or infinite
            activations.
        DataError: too few problems with a word, fewer than 30 windows where `search.claim`, or too few other
            tokens.
    """
    search, labels = search or Search(), words.labels
    check_match(acts, labels, coder)
    n_spans = check_spans(labels, search)
    held = split_by_problem(labels, search)
    read = _Reader(acts, words, coder)
    sets = [tuple((i,) for i in one) for one in words.shuffled(draws=shuffles, seed=search.seed)]
    (own, *others), firing = read.sums([words.ids, *sets], ~held)
    found, null = (
        reason_scores(own, alpha=alpha),
        np.stack([reason_scores(other, alpha=alpha) for other in others]),
    )
    best = np.argsort(-found, kind="stable")[: search.top]
    sample = take_rows(labels, np.ones((len(labels), 1)), held)
    frame = pd.DataFrame(
        {
            "kind": "feature",
            "feature": np.arange(len(found)),
            "train_value": found,
            "sign": np.sign(found),
            "p": (1 + (null >= found).sum(0)) / (1 + shuffles),
            "p_adjusted": (1 + (null.max(1)[:, None] >= found).sum(0)) / (1 + shuffles),
            "rate": firing.rate,
            "mean_active": firing.mean_active,
        }
    )
    values = _intervals(read.by_problem(best, np.flatnonzero(held), sample), alpha, search)
    frame = frame.merge(pd.DataFrame(values, index=best), left_on="feature", right_index=True, how="left")
    frame = frame.assign(
        site=str(coder.site), score="reason_score", unit="share of activation", correction="max_t"
    )
    return make_table(frame, labels, sample, n_spans=n_spans)


class _Firing(NamedTuple):
    """How often a feature fires, and how strongly where it does, on the rows read."""

    rate: np.ndarray
    mean_active: np.ndarray


class _Reader:
    """Sums of the codes of all rows over windows, a chunk at a time."""

    def __init__(self, acts: Activations, words: Windows, coder: SparseCoder) -> None:
        self.acts, self.words, self.coder = acts, words, coder
        with no_grad():
            self.norms = coder.rows(range(coder.d_sae)).norm(dim=-1).double().cpu().numpy()

    def sums(self, sets: Sequence[Groups], keep: np.ndarray) -> tuple[list[Sums], _Firing]:
        """Sums over the rows to keep [row] for every set of words, and how features fire there."""
        groups = list(dict.fromkeys(group for one in sets for group in one))
        at = [np.array([groups.index(group) for group in one]) for one in sets]
        n_columns = 1 + len(groups) + len(sets)
        summed, counts = np.zeros((self.coder.d_sae, n_columns)), np.zeros(n_columns)
        fires = np.zeros(self.coder.d_sae)
        for rows, x in chunks(self.acts, self.words.labels, self.coder.site):
            codes, kept = encode_rows(self.coder, x), keep[rows]
            single = self.words.member(groups, rows)
            near = [single[:, own].any(1) for own in at]
            columns = np.column_stack([np.ones(len(kept), bool), single, *near]) & kept[:, None]
            summed += codes.weighted(columns.astype(np.float32)).T
            counts += columns.sum(0)
            fires += np.bincount(codes.features, kept[codes.rows], self.coder.d_sae)
        rate = fires / keep.sum()
        firing = _Firing(rate, np.divide(summed[:, 0], fires, out=np.zeros(len(rate)), where=fires > 0))
        summed *= self.norms[:, None]
        mean = np.divide(summed, counts, out=np.zeros_like(summed), where=counts > 0)
        return [
            _sums(summed[:, 0], summed[:, 1 + len(groups) + i], mean[:, 1 + own].T)
            for i, own in enumerate(at)
        ], firing

    def by_problem(self, best: np.ndarray, held: np.ndarray, sample: Sample) -> _ByProblem:
        """What every held-out problem adds to the sums of some features."""
        n, n_words = sample.n_problems, len(self.words.ids)
        sums, totals, counts = np.zeros((n, n_words + 2, len(best))), np.zeros((n, 2)), np.zeros((n, n_words))
        problem = np.full(len(self.words.labels), -1)
        problem[held] = sample.problem
        for rows, x in chunks(self.acts, self.words.labels, self.coder.site):
            here = np.flatnonzero(problem[rows] >= 0)
            if not len(here):
                continue
            codes = Codes(encode_rows(self.coder, x).matrix[here])
            single, own = self.words.member(self.words.ids, rows)[here], problem[rows][here]
            near = single.any(1)
            whole = np.asarray(codes.matrix @ self.norms)
            some = np.stack([codes.column(int(i)) * self.norms[i] for i in best], axis=1)
            for column, inside in enumerate((near, ~near, *single.T)):
                np.add.at(sums[:, column], own[inside], some[inside])
            for column, inside in enumerate((near, ~near)):
                totals[:, column] += np.bincount(own[inside], whole[inside], n)
            counts += np.stack([np.bincount(own, one, n) for one in single.T], axis=1)
        return _ByProblem(sums, totals, counts)


class _ByProblem(NamedTuple):
    """[problem, (near, far, words), feature] sums; [problem, (near, far)] of all features; [problem, word]
    rows."""

    sums: np.ndarray
    totals: np.ndarray
    counts: np.ndarray

    def score(self, weights: np.ndarray, alpha: float) -> np.ndarray:
        """[draw, feature] for weights [draw, problem]."""
        n, columns, features = self.sums.shape
        sums = (weights @ self.sums.reshape(n, -1)).reshape(len(weights), columns, features)
        totals, counts = weights @ self.totals, (weights @ self.counts)[..., None]
        word = np.divide(sums[:, 2:], counts, out=np.zeros_like(sums[:, 2:]), where=counts > 0)
        return reason_scores(Sums(sums[:, 0], sums[:, 1], word, totals[:, :1], totals[:, 1:]), alpha=alpha)


def _sums(whole: np.ndarray, near: np.ndarray, word: np.ndarray) -> Sums:
    far = whole - near
    return Sums(near, far, word, near.sum(keepdims=True), far.sum(keepdims=True))


def _intervals(found: _ByProblem, alpha: float, search: Search) -> dict[str, np.ndarray]:
    """Value and 95 % bootstrap interval over problems, per feature."""
    n = len(found.totals)
    drawn = np.concatenate([found.score(w, alpha) for w in bootstrap_weights(n, search.draws, search.seed)])
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {"value": found.score(np.ones((1, n)), alpha)[0], "low": low, "high": high}
