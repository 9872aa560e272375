"""Shapley values by player: they sum to the gap, and know an additive game and a conjunction."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from reasonmech.claims import Rule
from reasonmech.claims.shapley import PLAYERS, shapley_effects, shapley_values
from reasonmech.errors import DataError


def game(value) -> dict[tuple[str, ...], np.ndarray]:
    return {
        members: np.asarray(value(members), dtype=float)
        for size in range(len(PLAYERS) + 1)
        for members in combinations(PLAYERS, size)
    }


def test_values_of_any_game_sum_to_the_gap_problem_by_problem() -> None:
    rng = np.random.default_rng(0)
    drawn = game(lambda members: rng.uniform(0, 1, 7))
    total = sum(shapley_values(drawn).values())
    np.testing.assert_allclose(total, drawn[PLAYERS] - drawn[()], atol=1e-12)


def test_an_additive_game_has_its_weights() -> None:
    weights = {"step": 0.1, "check": 0.3, "backtrack": 0.2, "executor": 0.0}
    values = shapley_values(game(lambda members: np.full(3, sum(weights[one] for one in members))))
    for name, weight in weights.items():
        np.testing.assert_allclose(values[name], weight, atol=1e-12)


def test_what_takes_two_is_shared_by_two() -> None:
    both = {"check", "backtrack"}
    values = shapley_values(game(lambda members: np.full(3, float(both <= set(members)))))
    np.testing.assert_allclose([values["check"][0], values["backtrack"][0]], 0.5)
    np.testing.assert_allclose([values["step"][0], values["executor"][0]], 0.0, atol=1e-12)


def test_a_coalition_that_was_not_run_is_named() -> None:
    drawn = game(lambda members: np.zeros(3))
    del drawn["check", "executor"]
    with pytest.raises(DataError, match=r"1 of 16 coalitions are missing, such as \('check', 'executor'\)"):
        shapley_values(drawn)
    assert shapley_effects({}, Rule()) == {}
