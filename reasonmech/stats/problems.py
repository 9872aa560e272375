"""Values by problem, which is the unit of every statistic here: never the rollout, never the token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.ranges import Positive, Seed
from reasonmech.stats.checks import as_ids, as_numbers, check_finite

MIN_PROBLEMS: Final = 5
"""Fewer problems with a positive (or a negative) row carry no interval."""

_CHUNK: Final = 4_000_000  # counts that are held in memory at once: 32 MB


def by_problem(values: ArrayLike, problems: ArrayLike | None = None) -> Float[np.ndarray, " problem"]:
    """One mean per problem, in the order of the sorted ids, or of the first axis without ids.

    Args:
        values: [problem], [problem, sample], or [row] together with `problems`.
        problems: [row] problem id of every row.

    Raises:
        ArgumentError: values that are no numbers: a text, a single number.
        DataError: no value, or lengths that differ.
        NonFiniteError: a value is NaN or infinite (a skipped problem is a wrong answer, not a NaN).
    """
    array = as_numbers(values, name="values")
    if array.size == 0:
        raise DataError("no values to average", do="check that the arm was run on these problems")
    check_finite(array, name="values")
    if problems is None:
        return array if array.ndim == 1 else array.reshape(len(array), -1).mean(1)
    ids, code = np.unique(as_ids(problems, name="problems"), return_inverse=True)
    if array.shape != code.shape:
        raise DataError(
            f"{array.shape} values for {code.shape} problem ids", do="give one problem id per value"
        )
    return np.bincount(code, array, len(ids)) / np.bincount(code, minlength=len(ids))


def same_problems(
    a: ArrayLike, b: ArrayLike, problems: ArrayLike | None = None
) -> tuple[Float[np.ndarray, " problem"], Float[np.ndarray, " problem"]]:
    """Two arms as one number per problem each, in one order.

    Raises:
        DataError: they differ in the number of problems.
        ArgumentError, NonFiniteError: as `by_problem`.
    """
    first, second = by_problem(a, problems), by_problem(b, problems)
    if len(first) != len(second):
        raise DataError(
            f"{len(first)} problems against {len(second)}",
            do="score both arms on the same problems, in one order",
        )
    return first, second


def check_two_problems(n: int) -> None:
    """Refuse a single problem: it has no spread, and its interval would be a point.

    Raises:
        DataError: fewer than two.
    """
    if n < 2:
        raise DataError(f"{n} problem has no interval", allowed="at least 2 problems", do="use more problems")


@checked
def bootstrap_weights(n: int, draws: Positive, seed: Seed) -> Iterator[Float[np.ndarray, "draw problem"]]:
    """How often each of n problems is drawn: chunks [draw, problem] that sum to n along the second axis."""
    rng = np.random.default_rng(seed)
    # Numbers come from one stream in the order of the draws, so the size of a chunk changes none of them.
    chunk = max(1, _CHUNK // n)
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        # Every draw gets bins of its own (shifted by n): one bincount counts a whole chunk.
        cells = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(cells.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
