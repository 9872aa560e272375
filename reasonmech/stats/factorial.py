"""A 2x2 factorial of accuracies by problem: main effects that share out the gap, and simple effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.stats.bounded import (
    SHARE,
    Bounds,
    check_bounds,
    corners_of,
    quantiles,
    ratio_ends,
    reweight,
)
from reasonmech.stats.checks import check_level
from reasonmech.stats.intervals import DRAWS, LEVEL, Interval
from reasonmech.stats.problems import by_problem, check_two_problems

# of the cells (bb, bt, tb, tt)
_EFFECTS: Final = {
    "when": (-0.5, -0.5, 0.5, 0.5),
    "how": (-0.5, 0.5, -0.5, 0.5),
    "total": (-1, 0, 0, 1),
    "interaction": (1, -1, -1, 1),
    "when_given_base": (-1, 0, 1, 0),
    "when_given_thinking": (0, -1, 0, 1),
    "how_given_base": (-1, 1, 0, 0),
    "how_given_thinking": (0, 0, -1, 1),
}


@checked
@final
@dataclass(frozen=True)
class FactorialEffects:
    """Effects of the onsets (WHEN) and of the execution (HOW), each with its interval by problem.

    Attributes:
        when: 1/2 [(tb - bb) + (tt - bt)], the Shapley value of the onsets (Shapley 1953).
        how: 1/2 [(bt - bb) + (tt - tb)], that of the execution; the two sum to `total`.
        total: tt - bb, the gap.
        interaction: tt - tb - bt + bb; where it is not 0 the simple effects differ, and when and how are
            averages of things that are not alike.
        when_given_base, when_given_thinking: simple effects of the onsets, on the base's and on the thinking
            model's execution: tb - bb and tt - bt.
        how_given_base, how_given_thinking: simple effects of the execution, at the base's and at the thinking
            model's onsets: bt - bb and tt - tb.
        when_share, how_share: when / total and how / total; unbounded where the interval of the total
            covers 0, NaN where the total is 0.
        n: problems.
    """

    when: Interval
    how: Interval
    total: Interval
    interaction: Interval
    when_given_base: Interval
    when_given_thinking: Interval
    how_given_base: Interval
    how_given_thinking: Interval
    when_share: Interval
    how_share: Interval
    n: int

    def __repr__(self) -> str:
        return f"FactorialEffects(when {self.when}, how {self.how}, total {self.total}, {self.n} problems)"


@checked
def factorial(
    *,
    bb: ArrayLike,
    bt: ArrayLike,
    tb: ArrayLike,
    tt: ArrayLike,
    bounds: Bounds = SHARE,
    level: float = LEVEL,
) -> FactorialEffects:
    """Effects of a factorial whose cells are named onset-executor (b: base, t: thinking).

    Each is a contrast of the four cells, taken problem by problem; its interval is that of `stats.bounded`,
    so that an effect whose sample happens to hold no negative difference may still be negative.

    Args:
        bb, bt, tb, tt: on the same problems, [problem] or [problem, sample]; tb: the thinking model's onsets
            on the base's execution.
        bounds: what a cell can be.
        level: of every interval on its own.

    Raises:
        ArgumentError: something that is no array of numbers, bounds that are none.
        DataError: fewer than two problems, numbers of problems that differ, a value outside of the bounds, a
            level outside (0, 1).
        NonFiniteError: a value is NaN or infinite.
    """
    check_level(level)
    means = {name: by_problem(cell) for name, cell in (("bb", bb), ("bt", bt), ("tb", tb), ("tt", tt))}
    if len({len(cell) for cell in means.values()}) > 1:
        sizes = ", ".join(f"{name} {len(cell)}" for name, cell in means.items())
        raise DataError(f"problems of the cells: {sizes}", do="run all four cells on the same problems")
    check_two_problems(len(means["bb"]))
    check_bounds(bounds, **means)
    cells = np.stack(list(means.values()), axis=1)
    drawn = reweight(cells, draws=DRAWS, seed=0)
    effects = {}
    for name, weights in _EFFECTS.items():
        corners, sums = corners_of([weights], bounds), drawn.sums @ np.array(weights)
        ends = quantiles(sums + drawn.unseen * corners.min(), sums + drawn.unseen * corners.max(), level)
        effects[name] = Interval(float((cells @ np.array(weights)).mean()), *ends, level)
    total = effects["total"].estimate
    for name in ("when", "how"):
        contrasts = np.array([_EFFECTS[name], _EFFECTS["total"]], dtype=float)
        of_both = drawn._replace(sums=drawn.sums @ contrasts.T)
        ends = ratio_ends(of_both, corners_of(contrasts, bounds), level)
        share = effects[name].estimate / total if total else float("nan")
        effects[f"{name}_share"] = Interval(share, ends.low, ends.high, level)
    return FactorialEffects(**effects, n=len(cells))
