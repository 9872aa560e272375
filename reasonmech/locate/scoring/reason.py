"""ReasonScore: features active around chosen words and little elsewhere; shuffled words are its null."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

import numpy as np
import pandas as pd
from torch import no_grad

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.locate.p_values import Discovered
from reasonmech.locate.rows.checks import check_match
from reasonmech.locate.rows.codes import Firing, encode_rows
from reasonmech.locate.rows.sample import Sample, Search, check_spans, split_by_problem
from reasonmech.locate.rows.stream import chunks
from reasonmech.locate.scoring.score import Measured, Need, Score, SearchData, scores
from reasonmech.locate.scoring.windows import Windows, word_windows
from reasonmech.ranges import Positive
from reasonmech.stats import LEVEL, bootstrap_weights

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations

Groups: TypeAlias = tuple[tuple[int, ...], ...]  # token ids of every word of a set

ALPHA: Final = 0.7  # the published exponent of the entropy
WORDS: Final = Need(
    "words",
    "words by their token ids, in whose windows features are to be active",
    'rm.features.ReasonScore({"wait": rm.hosts.onset_tokens(host.tokenizer, "wait")})',
)


@checked
@scores.register("reason_score")
@final
@dataclass(frozen=True, eq=False)
class ReasonScore(Score):
    """ReasonScore of every feature, and how often as many other words of like frequency score as high.

    The score (Galichin et al. 2025, arXiv 2503.18878; see `reason_scores`) has no null in its paper, which
    takes the features above its 0.997 quantile: some feature is the best for any words. `p` is the share of
    shuffled sets of words under which the feature scores as high as under yours, `p_adjusted` that of the
    sets
    under which any feature does: a max-T correction, whatever the search says. Ranked on the training
    problems (sign 1: active near the words), valued for the best `search.top` on the held-out ones, with
    intervals by problem. What it finds goes with words, not with what they do. Everything is streamed: the
    codes of one chunk are in memory at once.

    Its rows are the generated tokens, positive near a word (`word_windows`); labels that `locate` is given
    play no part, and may be None.

    Measuring raises MismatchError where the coder belongs to another model's weights, NonFiniteError on NaN
    or infinite activations, and DataError on too few problems with a word, a word that never occurs, fewer
    than 30 windows where `search.claim`, or too few other tokens.

    Attributes:
        words: name -> ids of the tokens that are this word, without a BOS.
        before, after: tokens around an occurrence that count as near it.
        alpha: exponent of the entropy.
        shuffles: shuffled sets of words.
    """

    words: Mapping[str, Collection[int]]
    before: int = 2
    after: int = 3
    alpha: float = ALPHA
    shuffles: Positive = 99
    unit = "share of activation"
    needs = (WORDS,)

    def __post_init__(self) -> None:
        words = check_type(self.words, Mapping, name="words", allowed=WORDS.what, do=WORDS.give)
        for name, ids in words.items():
            check_type(
                ids,
                (list, tuple, set, frozenset),
                name=f"words[{name!r}]",
                allowed="token ids",
                do=WORDS.give,
            )

    def measure(self, data: SearchData) -> Measured:
        acts, coder, search = data.acts, data.coder, data.search
        windows = word_windows(acts, self.words, before=self.before, after=self.after)
        labels = windows.labels
        check_match(acts, labels, coder)
        check_spans(labels, search)
        held_out = split_by_problem(labels, search)
        reader = _Reader(acts, windows, coder)
        shuffled = windows.shuffled(draws=self.shuffles, seed=search.seed)
        sets = [windows.ids, *(tuple((token,) for token in tokens) for tokens in shuffled)]
        (sums, *shuffled_sums), firing = reader.sums(sets, ~held_out)
        value = reason_scores(sums, alpha=self.alpha)
        null = np.stack([reason_scores(other, alpha=self.alpha) for other in shuffled_sums])
        p = (1 + (null >= value).sum(0)) / (1 + self.shuffles)
        p_adjusted = (1 + (null.max(1)[:, None] >= value).sum(0)) / (1 + self.shuffles)
        discovered = Discovered(value, np.sign(value), p, p_adjusted=p_adjusted)
        best, test = discovered.best(search.top), Sample.of(labels.take(held_out))
        intervals = _intervals(reader.by_problem(best, np.flatnonzero(held_out), test), self.alpha, search)
        valued = pd.DataFrame({"kind": "feature", "feature": best} | intervals)
        return Measured(labels, test, discovered, firing, valued)


class WindowSums(NamedTuple):
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


def reason_scores(sums: WindowSums, *, alpha: float = ALPHA) -> np.ndarray:
    """[..., feature]: near / sum_j near_j H^alpha - far / sum_j far_j (Galichin et al. 2025, sec. 3).

    H is the entropy of a feature's mean activation over the words, as a share of log(number of words): a
    feature of one word alone gets nothing for it. With a single word H is left out. A feature that never
    fires scores 0.
    """

    def share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
        return np.divide(part, total, out=np.zeros(np.broadcast(part, total).shape), where=total > 0)

    n_words = sums.word.shape[-2]
    evenness = np.ones(sums.near.shape)
    if n_words > 1:
        p = share(sums.word, sums.word.sum(-2, keepdims=True))
        evenness = -(p * np.log(np.where(p > 0, p, 1.0))).sum(-2) / np.log(n_words)
    return share(sums.near, sums.all_near) * evenness.clip(0) ** alpha - share(sums.far, sums.all_far)


class _Reader:
    """Sums of the codes of all rows over windows, a chunk at a time."""

    def __init__(self, acts: Activations, windows: Windows, coder: SparseCoder) -> None:
        self.acts, self.windows, self.coder = acts, windows, coder
        with no_grad():
            self.norms = coder.rows(range(coder.d_sae)).norm(dim=-1).double().cpu().numpy()

    def sums(self, sets: Sequence[Groups], chosen: np.ndarray) -> tuple[list[WindowSums], Firing]:
        """Sums over the chosen rows [row] for every set of words, and how features fire there."""
        groups = list(dict.fromkeys(group for words in sets for group in words))
        columns_of = [np.array([groups.index(group) for group in words]) for words in sets]
        n_columns = 1 + len(groups) + len(sets)
        summed, counts = np.zeros((self.coder.d_sae, n_columns)), np.zeros(n_columns)
        fires = np.zeros(self.coder.d_sae)
        for rows, x in chunks(self.acts, self.windows.labels, self.coder.site):
            codes, inside = encode_rows(self.coder, x), chosen[rows]
            single = self.windows.member(groups, rows)
            near = [single[:, columns].any(1) for columns in columns_of]
            weights = np.column_stack([np.ones(len(inside), bool), single, *near]) & inside[:, None]
            summed += codes.weighted(weights.astype(np.float32)).T
            counts += weights.sum(0)
            fires += np.bincount(codes.features, inside[codes.rows], self.coder.d_sae)
        rate = fires / chosen.sum()
        firing = Firing(rate, np.divide(summed[:, 0], fires, out=np.zeros(len(rate)), where=fires > 0))
        summed *= self.norms[:, None]
        mean = np.divide(summed, counts, out=np.zeros_like(summed), where=counts > 0)
        return [
            _window_sums(summed[:, 0], summed[:, 1 + len(groups) + i], mean[:, 1 + columns].T)
            for i, columns in enumerate(columns_of)
        ], firing

    def by_problem(self, best: np.ndarray, held_out: np.ndarray, sample: Sample) -> _ByProblem:
        """What every held-out problem adds to the sums of some features."""
        n, n_words = sample.n_problems, len(self.windows.ids)
        sums, totals, counts = np.zeros((n, n_words + 2, len(best))), np.zeros((n, 2)), np.zeros((n, n_words))
        problem_of = np.full(len(self.windows.labels), -1)  # -1: a row of the training side
        problem_of[held_out] = sample.problem
        for rows, x in chunks(self.acts, self.windows.labels, self.coder.site):
            inside = np.flatnonzero(problem_of[rows] >= 0)
            if not len(inside):
                continue
            codes = encode_rows(self.coder, x).take_rows(inside)
            single, problem = self.windows.member(self.windows.ids, rows)[inside], problem_of[rows][inside]
            near = single.any(1)
            total = np.asarray(codes.matrix @ self.norms)
            active = np.stack([codes.column(int(i)) * self.norms[i] for i in best], axis=1)
            for column, members in enumerate((near, ~near, *single.T)):
                np.add.at(sums[:, column], problem[members], active[members])
            for column, members in enumerate((near, ~near)):
                totals[:, column] += np.bincount(problem[members], total[members], n)
            counts += np.stack([np.bincount(problem, word, n) for word in single.T], axis=1)
        return _ByProblem(sums, totals, counts)


class _ByProblem(NamedTuple):
    """What problems add to a score.

    Attributes:
        sums: [problem, (near, far, words), feature].
        totals: [problem, (near, far)] of all features.
        counts: [problem, word] rows near the word.
    """

    sums: np.ndarray
    totals: np.ndarray
    counts: np.ndarray

    def score(self, weights: np.ndarray, alpha: float) -> np.ndarray:
        """[draw, feature] for weights [draw, problem]."""
        n, columns, features = self.sums.shape
        sums = (weights @ self.sums.reshape(n, -1)).reshape(len(weights), columns, features)
        totals, counts = weights @ self.totals, (weights @ self.counts)[..., None]
        word = np.divide(sums[:, 2:], counts, out=np.zeros_like(sums[:, 2:]), where=counts > 0)
        near, far = totals[:, :1], totals[:, 1:]
        return reason_scores(WindowSums(sums[:, 0], sums[:, 1], word, near, far), alpha=alpha)


def _window_sums(total: np.ndarray, near: np.ndarray, word: np.ndarray) -> WindowSums:
    far = total - near
    return WindowSums(near, far, word, near.sum(keepdims=True), far.sum(keepdims=True))


def _intervals(sums: _ByProblem, alpha: float, search: Search) -> dict[str, np.ndarray]:
    """Value and 95 % bootstrap interval over problems, per feature."""
    n = len(sums.totals)
    weights = bootstrap_weights(n, search.draws, search.seed)
    draws = np.concatenate([sums.score(w, alpha) for w in weights])
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {"value": sums.score(np.ones((1, n)), alpha)[0], "low": low, "high": high}
