"""Baselines: what the text gives away without any feature, and what a feature adds to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
import pandas as pd
from jaxtyping import Float

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.locate.falsify.corpus import Corpus
from reasonmech.locate.falsify.finding import AttemptFinding, Candidates, outcome_above
from reasonmech.locate.rows.by_token import beyond_token, standardised
from reasonmech.locate.rows.context import design_matrix
from reasonmech.ranges import Positive
from reasonmech.stats import Interval, auroc, ratio_interval
from reasonmech.stats.logistic import fit_logistic, log_likelihood

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder

WORDS: Final = 128  # most frequent tokens that get a column in the bag
FLOOR: Final = 0.01  # nats per row: the gain that rung C1 of the ladder of claims asks for


class _Baseline(NamedTuple):
    """What a baseline knows of every row, and how well that does alone.

    Attributes:
        reads: whether it knows the token that is read, and so what that token says of a feature.
    """

    name: str
    design: Float[np.ndarray, "row covariate"]
    alone: Interval
    reads: bool


@checked
@final
@dataclass(frozen=True, eq=False)
class Baselines:
    """Gain in held-out log-likelihood, nats per row, when the feature joins a logistic model of

    - the token that is read,
    - the position and the number of the boundary, linearly and by tenths,
    - the bag of the last `window` tokens, the read one included,
    - the kind of the sentence before, where it is given,
    - the entropy of the host's next-token distribution, where it is given.

    A detector that adds nothing to one of them is explained by it. To what knows the token, a feature adds
    its distance from its own mean where other problems read that token (`beyond_token`): a feature of rare
    tokens, which have no column of their own, is explained as one of frequent tokens is.

    Attributes:
        corpus: labelled text.
        window: tokens of the bag.
        floor: nats per row that the whole interval must exceed.
        entropy: [row] nats, as `reasonmech.locate.next_token` gives them; None: not compared. It nearly
            contains the probability of the onset itself, so what falls to it alone may be the decision and no
            artefact.
        previous: [row] kind of the sentence that holds the row, as `reasonmech.locate.previous_kinds` gives
            them; None: not compared. Among all boundaries of a thinking model's text it may tell everything:
            a step is over, so a check begins.
    """

    corpus: Corpus
    window: Positive = 16
    floor: float = FLOOR
    entropy: Float[np.ndarray, " row"] | None = None
    previous: Sequence[str] | np.ndarray | None = None

    @property
    def name(self) -> str:
        return "baselines"

    def findings(self, coder: SparseCoder, candidates: Candidates) -> list[AttemptFinding]:
        """One per feature and baseline.

        Raises:
            DataError: an entropy, or a kind, that is not one per row.
        """
        values = self.corpus.read(coder, candidates.features)
        findings = []
        for baseline in self._fitted:
            for column, feature in zip(values.T, candidates.features, strict=True):
                gain = self._gain(baseline, column)
                reason = (
                    f"it adds {gain} nats per row to the {baseline.name}, whose own AUROC is "
                    f"{baseline.alone}; floor {self.floor:g}"
                )
                number = "held-out gain", *gain[:3], "nats per row"
                outcome = outcome_above(gain, self.floor)
                findings.append(AttemptFinding(feature, baseline.name, outcome, reason, *number))
        return findings

    @cached_property
    def _fitted(self) -> tuple[_Baseline, ...]:
        """Each is fitted once, whatever is asked of it, and of however many features."""
        return tuple(self._baselines())

    def _baselines(self) -> Iterator[_Baseline]:
        corpus, train = self.corpus, ~self.corpus.held_out
        designs = {
            "token": np.c_[bag_of_words(corpus.words_before(1), train=train), self._rate_by_token()],
            "position": design_matrix(corpus.known.filter(["position", "boundary"]), train),
            "bag of words": bag_of_words(corpus.words_before(self.window), train=train),
        }
        if self.entropy is not None:
            designs["entropy"] = self._design("entropies", self.entropy, train)
        if self.previous is not None:
            designs["previous kind"] = self._design("previous kinds", self.previous, train)
        fitted_on, test = corpus.labels.take(train), corpus.labels.take(~train)
        for name, design in designs.items():
            weights = fit_logistic(design[train], fitted_on.positive)
            alone = auroc(design[~train] @ weights, test.positive, test.problem)
            yield _Baseline(name, design, alone, reads=name in ("token", "bag of words"))

    def _design(self, what: str, column: Sequence[str] | np.ndarray, train: np.ndarray) -> np.ndarray:
        if len(column) != len(self.corpus.labels):
            raise DataError(
                f"{len(column)} {what} for {len(self.corpus.labels)} labelled rows", do="give one per row"
            )
        return design_matrix(pd.DataFrame({what: np.asarray(column)}), train)

    def alone(self) -> pd.DataFrame:
        """AUROC of each baseline by itself, on held-out problems: baseline, value, low, high."""
        rows = [(one.name, *one.alone[:3]) for one in self._fitted]
        return pd.DataFrame(rows, columns=["baseline", "value", "low", "high"])

    def _rate_by_token(self) -> Float[np.ndarray, "row covariate"]:
        """How often other problems are positive where they read a row's token, for any number of tokens."""
        corpus, train = self.corpus, ~self.corpus.held_out
        positive = corpus.labels.positive.astype(np.float64)
        token = corpus.known["delimiter"].to_numpy()
        return standardised(beyond_token(positive, token, corpus.labels.problem, train=train).mean, train)

    def _gain(self, baseline: _Baseline, column: np.ndarray) -> Interval:
        corpus, train = self.corpus, ~self.corpus.held_out
        positive, design = corpus.labels.positive, baseline.design
        if baseline.reads:
            token = corpus.known["delimiter"].to_numpy()
            mean, column = beyond_token(column, token, corpus.labels.problem, train=train)
            design = np.c_[design, standardised(mean, train)]
        likelihoods = []  # without the feature, with it
        for x in (design, np.c_[design, standardised(column, train)]):
            weights = fit_logistic(x[train], positive[train])
            likelihoods.append(log_likelihood(x[~train], positive[~train], weights))
        ids, code = np.unique(corpus.labels.problem[~train], return_inverse=True)
        gain = np.bincount(code, likelihoods[1] - likelihoods[0], len(ids))
        rows = np.bincount(code, minlength=len(ids))
        return ratio_interval(gain, rows, draws=corpus.search.draws, seed=corpus.search.seed)


def bag_of_words(words: Sequence[Sequence[int]], *, train: np.ndarray) -> Float[np.ndarray, "row covariate"]:
    """Intercept and standardised counts of the tokens that are most frequent in the training rows."""
    counted = Counter(token for row in np.flatnonzero(train).tolist() for token in words[row])
    column_of = {token: i for i, (token, _) in enumerate(counted.most_common(WORDS))}
    counts = np.zeros((len(words), len(column_of)))
    for row, tokens in enumerate(words):
        for token in tokens:
            if token in column_of:
                counts[row, column_of[token]] += 1
    sd = counts[train].std(0)
    varying = sd > 1e-9  # a word that every training row holds as often would be a second intercept
    standard = (counts[:, varying] - counts[train][:, varying].mean(0)) / sd[varying]
    return np.column_stack([np.ones(len(words)), standard])
