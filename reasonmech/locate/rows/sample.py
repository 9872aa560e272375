"""Sample: labelled rows of one split, and the split itself, by problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.labels import Labels
from reasonmech.ranges import Positive, Seed
from reasonmech.stats import MIN_PROBLEMS

Correction: TypeAlias = Literal["bh", "max_t"]

CLAIM_SPANS: Final = 30  # positive spans below which a search is exploration and carries no claim


@checked
@dataclass(frozen=True)
class Search:
    """How a search for features is run.

    Attributes:
        test: share of problems held out; features are chosen on the others.
        top: features whose held-out value and interval are computed, the best of the training split.
        draws: bootstrap draws per interval.
        seed: of the split, of the bootstrap and of the flipped signs.
        correction: over all features: "bh" (false-discovery rate) or "max_t" (any false discovery at all).
        flips: draws of max-T.
        claim: what is found will carry a claim: fewer than 30 positive spans are refused, not just marked.
        also: features that get a held-out value whatever their rank: those that were chosen elsewhere, say.
    """

    test: float = 0.4
    top: Positive = 32
    draws: int = 2000
    seed: Seed = 0
    correction: Correction = "bh"
    flips: Positive = 999
    claim: bool = False
    also: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of one split.

    Attributes:
        positive: [row] whether the behaviour begins, or is, there.
        problem: [row] problem number, 0 to n_problems - 1.
        design: [row, covariate] what is known at a row without any feature, intercept first, standardised.
        token: [row] number of the token that is read, one numbering for both splits; None where it is not
            looked at.
    """

    positive: np.ndarray
    problem: np.ndarray
    design: np.ndarray
    token: np.ndarray | None = None

    @classmethod
    def of(cls, labels: Labels, design: np.ndarray | None = None, token: np.ndarray | None = None) -> Sample:
        """The sample of labelled rows; without a design nothing but an intercept is known."""
        _, problem = np.unique(labels.problem, return_inverse=True)
        return cls(labels.positive, problem, np.ones((len(labels), 1)) if design is None else design, token)

    def take(self, rows: np.ndarray) -> Sample:
        """The sample of some rows, its problems numbered anew."""
        _, problem = np.unique(self.problem[rows], return_inverse=True)
        token = None if self.token is None else self.token[rows]
        return Sample(self.positive[rows], problem, self.design[rows], token)

    @property
    def n_problems(self) -> int:
        return int(self.problem.max()) + 1

    def __len__(self) -> int:
        return len(self.positive)


def hold_out(labels: Labels, search: Search) -> np.ndarray:
    """[row] True where the row's problem is held out, as `split_by_problem`; rows may all be of one kind.

    Raises:
        DataError: fewer than 5 problems on either side.
    """
    ids, code = np.unique(labels.problem, return_inverse=True)
    held_out = _choose_problems(len(ids), search)
    if min(held_out.sum(), (~held_out).sum()) < MIN_PROBLEMS:
        raise DataError(
            f"{len(ids)} problems, {int(held_out.sum())} of them held out",
            allowed=f"at least {MIN_PROBLEMS} on either side",
            do="use more problems",
        )
    return held_out[code]


def _choose_problems(n_problems: int, search: Search) -> np.ndarray:
    """[problem] True for those that are held out."""
    return np.random.default_rng(search.seed).permutation(n_problems) < round(search.test * n_problems)


def split_by_problem(labels: Labels, search: Search) -> np.ndarray:
    """[row] True where the row's problem is held out: a `search.test` share of them, by `search.seed`.

    Raises:
        DataError: on either side, fewer than 5 problems hold a positive, or a negative, row.
    """
    ids, code = np.unique(labels.problem, return_inverse=True)
    held_out = _choose_problems(len(ids), search)[code]
    for side, rows in (("training", ~held_out), ("held-out", held_out)):
        for name, of_kind in (("positive", labels.positive), ("negative", ~labels.positive)):
            n_problems = len(np.unique(code[rows & of_kind]))
            if n_problems < MIN_PROBLEMS:
                raise DataError(
                    f"behaviour {labels.behaviour!r}: {n_problems} {side} problems hold a {name} row, of "
                    f"{len(ids)} in all",
                    allowed=f"at least {MIN_PROBLEMS} on either side",
                    do="use more problems, or rollouts in which the behaviour sometimes begins and "
                    "sometimes does not",
                )
    return held_out


def at_most(labels: Labels, limit: int, seed: int) -> Labels:
    """The labels, or so many rows of them drawn at random."""
    if limit < 1:
        raise DataError(f"{limit} rows", allowed="at least one", do="2000 is usual")
    if len(labels) <= limit:
        return labels
    rng = np.random.default_rng([seed, 4])  # 4: a stream of its own beside the split's and the bootstrap's
    return labels.take(np.sort(rng.choice(len(labels), limit, replace=False)))


def count_spans(labels: Labels) -> int:
    """Positive spans: onsets of "anticipates", runs of positive rows of "recognises".

    A run ends at a row that is not positive; tokens between its rows that are none (the environment's) do not
    end it.
    """
    if labels.mode == "anticipates":
        return int(labels.positive.sum())
    order = np.lexsort((labels.position, labels.rollout))
    rollout, positive = labels.rollout[order], labels.positive[order]
    continues = (np.diff(rollout) == 0) & positive[1:] & positive[:-1]
    return int(positive.sum()) - int(continues.sum())


def check_spans(labels: Labels, search: Search) -> int:
    """The number of positive spans.

    Raises:
        DataError: `search.claim`, and there are fewer than 30.
    """
    n_spans = count_spans(labels)
    if search.claim and n_spans < CLAIM_SPANS:
        raise DataError(
            f"behaviour {labels.behaviour!r} has {n_spans} positive spans: too few to carry a claim",
            allowed=f"at least {CLAIM_SPANS}",
            do="use more rollouts, or Search(claim=False), which marks what it finds as exploratory",
        )
    return n_spans
