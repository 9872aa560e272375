"""Sample: labelled rows of one split, and the split itself, by problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reasonmech.errors import DataError
from reasonmech.labels import Labels
from reasonmech.stats import MIN_PROBLEMS


@dataclass(frozen=True)
class Search:
    """How a search for features is run.

    Attributes:
        test: share of problems held out; features are chosen on the others.
        top: features whose held-out value and interval are computed, the best of the training split.
        draws: bootstrap draws per interval.
        seed: of the split and of the bootstrap.
    """

    test: float = 0.4
    top: int = 32
    draws: int = 2000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of one split.

    Attributes:
        positive: [row] whether the behaviour begins, or is, there.
        problem: [row] problem number, 0 to n_problems - 1.
        design: [row, covariate] what is known at a row without any feature, intercept first, standardised.
    """

    positive: np.ndarray
    problem: np.ndarray
    design: np.ndarray

    @property
    def n_problems(self) -> int:
        return int(self.problem.max()) + 1

    def __len__(self) -> int:
        return len(self.positive)


def split_by_problem(labels: Labels, search: Search) -> np.ndarray:
    """[row] True where the row's problem is held out: a `search.test` share of the problems, drawn with `search.seed`.

    Raises:
        DataError: on either side, fewer than 5 problems hold a positive, or a negative, row.
    """
    ids, code = np.unique(labels.problem, return_inverse=True)
    held = np.random.default_rng(search.seed).permutation(len(ids)) < round(search.test * len(ids))
    test = held[code]
    for side, rows in (("training", ~test), ("held-out", test)):
        for name, wanted in (("positive", labels.positive), ("negative", ~labels.positive)):
            found = len(np.unique(code[rows & wanted]))
            if found < MIN_PROBLEMS:
                raise DataError(
                    f"behaviour {labels.behaviour!r}: {found} {side} problems hold a {name} row, of {len(ids)} in all",
                    allowed=f"at least {MIN_PROBLEMS} on either side",
                    do="use more problems, or rollouts in which the behaviour sometimes begins and sometimes does not",
                )
    return test


def take_rows(labels: Labels, design: np.ndarray, rows: np.ndarray) -> Sample:
    """The sample of the rows [row] that are True."""
    _, problem = np.unique(labels.problem[rows], return_inverse=True)
    return Sample(labels.positive[rows], problem, design[rows])
