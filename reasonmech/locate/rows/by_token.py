"""By token: what the token that is read says of a number by itself, and what the number says beyond that."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

FOLDS: Final = 5  # of the training problems


class BeyondToken(NamedTuple):
    """A number per row, taken apart.

    Attributes:
        mean: [row] its mean over training rows of other problems that read the same token; the mean of all of
            them where none does.
        rest: [row] the number less that mean; 0 where no other row reads the token, and nothing can be told
            apart.
    """

    mean: Float[np.ndarray, " row"]
    rest: Float[np.ndarray, " row"]


def beyond_token(
    values: np.ndarray, token: np.ndarray, problem: np.ndarray, *, train: np.ndarray
) -> BeyondToken:
    """Take a number [row] apart into what its token [row] says and the rest, for as many tokens as there are.

    Training rows get the mean of the other folds of the training problems, which knows nothing of their own.
    """
    _, level = np.unique(token, return_inverse=True)
    n_levels = int(level.max()) + 1
    _, number = np.unique(problem[train], return_inverse=True)
    fold = np.full(len(values), FOLDS)  # the last number: held-out rows, which all training problems inform
    fold[train] = number % FOLDS
    mean, known = np.zeros(len(values)), np.zeros(len(values), dtype=bool)
    for one in range(FOLDS + 1):
        inside, others = fold == one, train & (fold != one)
        rows = np.bincount(level[others], minlength=n_levels)
        sums = np.bincount(level[others], values[others], n_levels)
        overall = values[others].mean() if others.any() else 0.0
        mean[inside] = np.divide(sums, rows, out=np.full(n_levels, overall), where=rows > 0)[level[inside]]
        known[inside] = rows[level[inside]] > 0
    return BeyondToken(mean, np.where(known, values - mean, 0.0))


def standardised(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """[row, 1]: the values with mean 0 and deviation 1 over the training rows; none if constant."""
    sd = values[train].std()
    return ((values - values[train].mean()) / sd)[:, None] if sd > 1e-9 else np.zeros((len(values), 0))
