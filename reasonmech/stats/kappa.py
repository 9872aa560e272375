"""Agreement of two labellers on the same items: the 2x2 table, and Cohen's kappa by problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.ranges import Positive, Seed
from reasonmech.stats.bounded import quantiles, reweight
from reasonmech.stats.checks import as_ids, as_labels
from reasonmech.stats.intervals import DRAWS, LEVEL, check_draws
from reasonmech.stats.problems import MIN_PROBLEMS


@checked
@dataclass(frozen=True)
class Agreement:
    """How two labellers cut the same items into yes and no.

    Attributes:
        both, only_first, only_second, neither: items by who said yes.
        problems: problems that the items come from, the unit of the interval.
        kappa: Cohen's kappa, (observed agreement - expected) / (1 - expected); None where it is undefined.
        low, high: 95 % interval by problem; None where there is none. Two labellers that agreed on everything
            may disagree in problems that were not seen, so it has a width then, too.
        why_none: why kappa, or its interval, is None ("" when both are there).
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    problems: int
    kappa: float | None
    low: float | None
    high: float | None
    why_none: str = ""

    @property
    def n(self) -> int:
        """Items in all."""
        return self.both + self.only_first + self.only_second + self.neither

    def __str__(self) -> str:
        if self.kappa is None:
            return f"kappa undefined: {self.why_none}"
        interval = "" if self.low is None else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"kappa {self.kappa:.3g}{interval} over {self.n} items of {self.problems} problems"


@checked
def cohen_kappa(
    first: ArrayLike, second: ArrayLike, *, problems: ArrayLike, draws: Positive = DRAWS, seed: Seed = 0
) -> Agreement:
    """Cohen's kappa (Cohen 1960) of two labellers, by scikit-learn; its interval reweights whole problems.

    The interval is that of `stats.bounded`: one problem that was not seen is put where it does most against
    the end that is sought: as many items as the most that one has, all disagreements, or all one answer of
    both. Where hardly anybody says yes, one such problem counts for much, and the interval is wide.
    Kappa is undefined where both labellers give one answer to everything, and has no interval where fewer
    than 5 problems hold a yes of anybody, or a no of anybody: then `why_none` says so.

    Args:
        first, second: [item], whether each labeller said yes.
        problems: [item] problem id.

    Raises:
        ArgumentError: answers other than true and false.
        DataError: no item, or lengths that differ.
    """
    check_draws(draws)
    a, b = as_labels(first, name="first"), as_labels(second, name="second")
    ids, problem = np.unique(as_ids(problems, name="problems"), return_inverse=True)
    if not a.size or not a.shape == b.shape == problem.shape:
        raise DataError(
            f"labels of {a.shape} and {b.shape} items with problem ids of {problem.shape}",
            allowed="one label of each labeller and one problem id per item, at least one item",
        )
    cells = np.stack([a & b, a & ~b, ~a & b, ~a & ~b], axis=1)  # [item, cell]
    counts = np.stack([np.bincount(problem, cell, len(ids)) for cell in cells.T], axis=1)  # [problem, cell]
    both, only_first, only_second, neither = (int(n) for n in counts.sum(0))
    kappa, low, high, reason = None, None, None, ""
    if len({*a.tolist(), *b.tolist()}) == 1:
        reason = f"both labellers said {'yes' if a[0] else 'no'} to all {len(a)} items"
    else:
        kappa = _kappa(a, b)
        reason = _too_few(a | b, a & b, problem)
        if not reason:
            low, high = _ends(counts.astype(np.float64), draws=draws, seed=seed)
    return Agreement(both, only_first, only_second, neither, len(ids), kappa, low, high, reason)


_UNSEEN: Final = np.array(  # shares of the cells in a problem that was not seen
    [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0.5, 0.5, 0]]
)


def _ends(counts: Float[np.ndarray, "problem cell"], *, draws: int, seed: int) -> tuple[float, float]:
    """Quantiles of the least and of the largest kappa that an unseen problem can make of each draw."""
    sums, unseen = reweight(counts, draws=draws, seed=seed)
    size = unseen[:, None] * counts.sum(1).max()
    kappa = np.stack([kappas(sums + size * cells) for cells in _UNSEEN])
    # nan: an unseen problem of one answer leaves a draw without the other; with disagreements of both kinds
    # none is
    return quantiles(np.nanmin(kappa, axis=0), np.nanmax(kappa, axis=0), LEVEL)


def kappas(counts: Float[np.ndarray, "draw cell"]) -> Float[np.ndarray, " draw"]:
    """Kappa of many 2x2 tables at once (both, only first, only second, neither); NaN where it is undefined.

    What scikit-learn computes of one table: a bootstrap needs thousands. A test holds the two equal.
    """
    share = counts / counts.sum(1, keepdims=True)
    yes_first, yes_second = share[:, 0] + share[:, 1], share[:, 0] + share[:, 2]
    observed = share[:, 0] + share[:, 3]
    expected = yes_first * yes_second + (1 - yes_first) * (1 - yes_second)
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa = (observed - expected) / (1 - expected)
    # 1e-12: expected agreement of 1, but for the order of summation
    return np.where(np.isclose(expected, 1.0, rtol=0, atol=1e-12), np.nan, kappa)


def _kappa(a: Bool[np.ndarray, " item"], b: Bool[np.ndarray, " item"]) -> float:
    from sklearn.metrics import cohen_kappa_score  # imports for long; most users of labels need no kappa

    return float(cohen_kappa_score(a, b, labels=[False, True]))


def _too_few(either: Bool[np.ndarray, " item"], both: Bool[np.ndarray, " item"], problem: np.ndarray) -> str:
    """Why no interval can be trusted: too few problems where either labeller says yes, or either no."""
    for answer, rows in (("yes", either), ("no", ~both)):
        n = len(np.unique(problem[rows]))
        if n < MIN_PROBLEMS:
            return f"no interval: problems with a {answer}: {n}, needed: {MIN_PROBLEMS}"
    return ""
