"""Curves of an outcome by its cost: closed forms, what costs too much does not count, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.stats import curves
from reasonmech.stats.curves import CostCurve, _mean_height, cost_of_half, height_above


def curve(cost, value, n: int = 40) -> CostCurve:
    """The same costs and values on every problem."""
    return CostCurve(
        np.repeat(np.array(cost, float)[:, None], n, 1), np.repeat(np.array(value, float)[:, None], n, 1)
    )


def test_heights_are_areas_over_the_cost_of_the_whole() -> None:
    straight, early, late = curve([0, 4], [0, 1]), curve([0, 1, 4], [0, 1, 1]), curve([0, 3, 4], [0, 0, 1])
    assert height_above(early, straight).estimate == pytest.approx(0.375)  # 7/8 - 1/2
    assert height_above(late, straight).estimate == pytest.approx(-0.375)
    assert height_above(straight, straight).estimate == 0.0


def test_what_costs_more_than_the_whole_does_not_count() -> None:
    """A ranking whose half dear way ends at the same place: the detour beyond it is left out."""
    detour, straight = curve([0, 9, 4], [0, 0.5, 1]), curve([0, 4], [0, 1])
    assert height_above(detour, straight).estimate == pytest.approx(0.0)


def test_a_curve_that_ends_earlier_or_later_is_read_up_to_the_end_of_the_first() -> None:
    straight = curve([0, 4], [0, 1])
    assert height_above(straight, curve([0, 2], [0, 1])).estimate == pytest.approx(0.5 - 0.75)
    assert height_above(straight, curve([0, 8], [0, 1])).estimate == pytest.approx(0.5 - 0.25)
    assert height_above(straight, curve([0, 1, 8], [0, 0, 1])).estimate == pytest.approx(0.5 - 9 / 56)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6))
def test_means_are_those_of_a_fine_grid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost, value, end = rng.uniform(0, 5, (3, 5)), rng.random((3, 5)), rng.uniform(0.5, 7, 3)
    cost[:, 0] = 0
    for row, height in enumerate(_mean_height(cost, value, end)):
        order, grid = np.argsort(cost[row]), np.linspace(0, end[row], 20_001)
        expected = np.interp(grid, cost[row][order], value[row][order]).mean()
        assert height == pytest.approx(expected, abs=1e-3)


def test_half_is_where_half_of_the_way_is_gone_in_either_direction() -> None:
    assert cost_of_half(curve([0, 2, 10], [0.2, 0.2, 1.0])).estimate == pytest.approx(6.0)
    assert cost_of_half(curve([0, 2, 10], [1.0, 1.0, 0.2])).estimate == pytest.approx(6.0)
    assert cost_of_half(curve([0, 3], [0.5, 0.5])).estimate == np.inf  # there is no way to go
    assert cost_of_half(curve([0, 0], [0.5, 0.5])).estimate == np.inf


def test_where_there_may_be_no_way_to_go_half_of_it_may_be_nowhere() -> None:
    """50 of 100 right at no cost, 52 at the whole: in many draws the curve falls, and then has no half."""
    rng = np.random.default_rng(0)
    right = np.array([rng.random(100) < p for p in (0.5, 0.5, 0.5)]).astype(float)
    right[-1] = right[0]
    right[-1, :2] = 1 - right[0, :2]
    cost = np.repeat(np.array([0.0, 4.0, 8.0])[:, None], 100, 1)
    assert cost_of_half(CostCurve(cost, right)).high == np.inf


def test_equal_answers_on_every_problem_have_an_interval_all_the_same() -> None:
    straight, early = curve([0, 4], [0, 1], 20), curve([0, 1, 4], [0, 1, 1], 20)
    interval = height_above(early, straight)
    assert interval.low < interval.estimate < interval.high and interval.high - interval.low > 0.1


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(3, 40))
def test_swapping_the_curves_turns_the_sign_and_the_ends(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    cost = np.sort(rng.uniform(0, 5, (4, n)), axis=0)
    cost[0], cost[-1] = 0, 5  # one end for both
    a, b = (CostCurve(cost, (rng.random((4, n)) < 0.5).astype(float)) for _ in range(2))
    forth, back = height_above(a, b), height_above(b, a)
    assert forth.estimate == pytest.approx(-back.estimate)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))
    assert forth.low <= forth.estimate <= forth.high


@pytest.mark.parametrize(
    ("cost", "value", "error"),
    [
        (np.zeros((1, 5)), np.zeros((1, 5)), DataError),
        (np.zeros((2, 5)), np.zeros((3, 5)), DataError),
        (np.zeros((2, 1)), np.zeros((2, 1)), DataError),
        (np.full((2, 5), -1.0), np.zeros((2, 5)), DataError),
        (np.zeros((2, 5)), np.full((2, 5), 2.0), DataError),
        (np.full((2, 5), np.nan), np.zeros((2, 5)), NonFiniteError),
    ],
)
def test_what_is_no_curve_is_refused(cost, value, error) -> None:
    with pytest.raises(error):
        CostCurve(cost, value)


def test_curves_of_other_problems_are_refused() -> None:
    with pytest.raises(DataError, match="40 and 39"):
        height_above(curve([0, 1], [0, 1]), curve([0, 1], [0, 1], 39))


def drawn(rng: np.random.Generator, n: int, spread: float) -> tuple[CostCurve, CostCurve]:
    """Two curves of problems: the whole costs 1 to 9 tokens, either ranking finds the token that matters
    after a share of them that differs from problem to problem."""
    whole = rng.integers(1, 10, n).astype(float)
    shares = np.array([0.0, 0.25, 0.5, 0.75, 1.0])[:, None]
    made = []
    for shape in (1.0, 1.0 + spread):
        needed = rng.random(n) ** (1 / shape)
        made.append(CostCurve(shares * whole, ((shares >= needed) & (shares > 0)).astype(float)))
    return made[0], made[1]


@pytest.mark.parametrize(("n", "spread"), [(30, 0.0), (100, 1.0)])
def test_intervals_cover(n: int, spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """150 samples: 95 % intervals of heights and halves hold the truth, which is that of 200,000 problems."""
    a, b = drawn(np.random.default_rng(7), 200_000, spread)
    means = [
        CostCurve(np.repeat(c.cost.mean(1)[:, None], 2, 1), np.repeat(c.value.mean(1)[:, None], 2, 1))
        for c in (a, b)
    ]
    height, half = height_above(*means).estimate, cost_of_half(means[0]).estimate
    monkeypatch.setattr(curves, "DRAWS", 1000)  # a tenth of the weights, for 300 intervals
    rng, inside, halves = np.random.default_rng(0), 0, 0
    for _ in range(150):
        a, b = drawn(rng, n, spread)
        interval, of_half = height_above(a, b), cost_of_half(a)
        inside += interval.low <= height <= interval.high
        halves += of_half.low <= half <= of_half.high
    assert inside / 150 >= 0.93  # one unseen problem makes it wide: it errs on the safe side
    assert halves / 150 >= 0.88  # 0.92 of 400 samples of the second kind: a half has a kink at every point
