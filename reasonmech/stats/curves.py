"""Curves of an outcome by what it costs: how high one lies, over another, and what half of its rise costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from reasonmech.errors import DataError
from reasonmech.ranges import Seed
from reasonmech.stats.bounded import SHARE, check_bounds, quantiles, reweight
from reasonmech.stats.checks import check_finite
from reasonmech.stats.intervals import DRAWS, LEVEL, Interval
from reasonmech.stats.problems import check_two_problems

_EQUAL: Final = 1e-12  # a rise that is rounding


@dataclass(frozen=True, eq=False)
class CostCurve:
    """What an outcome is at points of rising cost, problem by problem.

    Between its points a curve is a straight line of the means, and it ends where the cost of its last point
    ends: what costs more than the last point does not count.

    Attributes:
        cost: [point, problem] not negative, such as steered tokens; the first point is for nothing.
        value: [point, problem] within [0, 1], such as the share of right answers.

    Raises:
        DataError: fewer than two points or problems, other shapes, values outside of [0, 1], costs below 0.
        NonFiniteError: a number that is NaN or infinite.
    """

    cost: Float[np.ndarray, "point problem"]
    value: Float[np.ndarray, "point problem"]

    def __post_init__(self) -> None:
        if self.cost.ndim != 2 or self.cost.shape != self.value.shape or len(self.cost) < 2:
            raise DataError(
                f"a curve of costs {self.cost.shape} and values {self.value.shape}",
                allowed="[point, problem] both, of two points or more",
            )
        check_two_problems(self.cost.shape[1])
        check_finite(self.cost, name="cost")
        check_bounds(SHARE, value=self.value)
        if self.cost.min() < 0:
            raise DataError(f"a cost of {self.cost.min():g}", allowed="0 or more")

    def __repr__(self) -> str:
        return f"CostCurve({len(self.cost)} points of {self.cost.shape[1]} problems)"


def height_above(a: CostCurve, b: CostCurve, *, seed: Seed = 0) -> Interval:
    """How much higher `a` lies than `b`, on average over the cost from 0 to where `a` ends.

    1 is from no answer right to all. The interval is that of `stats.bounded`: problems reweighted, with one
    more at which either curve does best and the other worst, and whose costs are average.

    Raises:
        DataError: curves of other problems.
    """
    if a.cost.shape[1] != b.cost.shape[1]:
        raise DataError(
            f"curves of {a.cost.shape[1]} and {b.cost.shape[1]} problems", do="compare them on the same ones"
        )
    both = np.concatenate([a.cost, b.cost, a.value, b.value]).T
    n, m = len(a.cost), len(b.cost)

    def heights(costs: np.ndarray, of_a: np.ndarray, of_b: np.ndarray) -> Float[np.ndarray, " draw"]:
        ends = costs[:, n - 1]
        return _mean_height(costs[:, :n], of_a, ends) - _mean_height(costs[:, n:], of_b, ends)

    means = both.mean(0, keepdims=True)
    estimate = heights(means[:, : n + m], means[:, n + m : 2 * n + m], means[:, 2 * n + m :])
    sums, unseen = reweight(both, draws=DRAWS, seed=seed)
    costs = sums[:, : n + m] / (1.0 - unseen)[:, None]
    of_a, of_b = sums[:, n + m : 2 * n + m], sums[:, 2 * n + m :]
    lowest = heights(costs, of_a, of_b + unseen[:, None])
    highest = heights(costs, of_a + unseen[:, None], of_b)
    return Interval(float(estimate[0]), *quantiles(lowest, highest, LEVEL), LEVEL)


def cost_of_half(curve: CostCurve, *, seed: Seed = 0) -> Interval:
    """The least cost at which a curve is half of the way from its first point to its last one.

    Infinite where the two are the same in the sample. The interval is that of `height_above`, the unseen
    problem going the whole way at once or at the very end; a draw in which the curve goes the other way than
    in the sample is infinite, and so is an end where that many draws are.
    """
    both, n = np.concatenate([curve.cost, curve.value]).T, len(curve.cost)
    means = both.mean(0, keepdims=True)
    rise = float(means[0, -1] - means[0, n])
    direction = float(np.sign(rise)) if abs(rise) > _EQUAL else 0.0
    estimate = _half(means[:, :n], means[:, n:], direction)
    sums, unseen = reweight(both, draws=DRAWS, seed=seed)
    costs = sums[:, :n] / (1.0 - unseen)[:, None]
    early, late = np.ones(n), np.zeros(n)  # a problem that goes the whole way at once, or at the very end
    early[0], late[-1] = 0.0, 1.0
    ends = [way if direction > 0 else 1.0 - way for way in (early, late)]
    lowest, highest = (_half(costs, sums[:, n:] + unseen[:, None] * way, direction) for way in ends)
    return Interval(float(estimate[0]), *quantiles(lowest, highest, LEVEL), LEVEL)


def _up_to(
    cost: Float[np.ndarray, "draw point"],
    value: Float[np.ndarray, "draw point"],
    end: Float[np.ndarray, " draw"],
) -> tuple[Float[np.ndarray, "draw node"], Float[np.ndarray, "draw node"]]:
    """Nodes of each draw's line by rising cost, from its first point up to `end` and no further."""
    order = np.argsort(cost, axis=1, kind="stable")
    cost, value = np.take_along_axis(cost, order, 1), np.take_along_axis(value, order, 1)
    last = np.maximum(cost[:, -1:], end[:, None])  # a line that ends earlier goes on level
    cost, value = np.concatenate([cost, last], axis=1), np.concatenate([value, value[:, -1:]], axis=1)
    clipped, width = np.minimum(cost, end[:, None]), np.diff(cost, axis=1)
    share = np.divide(np.diff(clipped, axis=1), width, out=np.zeros_like(width), where=width > 0)
    reached = value[:, :-1] + share * np.diff(value, axis=1)
    inside = cost[:, 1:] <= end[:, None]
    return clipped, np.concatenate([value[:, :1], np.where(inside, value[:, 1:], reached)], axis=1)


def _mean_height(cost: np.ndarray, value: np.ndarray, end: np.ndarray) -> Float[np.ndarray, " draw"]:
    """Mean of each draw's line over the cost from 0 to `end`; its first value where that is 0."""
    at, height = _up_to(cost, value, end)
    area = (np.diff(at, axis=1) * (height[:, 1:] + height[:, :-1]) / 2).sum(1)
    return np.divide(area, end, out=value[:, 0].copy(), where=end > 0)


def _half(cost: np.ndarray, value: np.ndarray, direction: float) -> Float[np.ndarray, " draw"]:
    """Where each draw's line has first gone half of its way; infinite where it never has, or its way is
    another than the sample's."""
    rise = (value[:, -1] - value[:, 0]) * direction
    at, height = _up_to(cost, value, cost[:, -1])
    way, half = (height - value[:, :1]) * direction, rise[:, None] / 2
    there = way[:, 1:] >= half
    segment = there.argmax(1)[:, None]
    before, after = (np.take_along_axis(way, segment + i, 1) for i in (0, 1))
    share = np.divide(half - before, after - before, out=np.zeros_like(half), where=after > before)
    left, right = (np.take_along_axis(at, segment + i, 1) for i in (0, 1))
    return np.where(there.any(1) & (rise > _EQUAL), (left + share * (right - left))[:, 0], np.inf)
