"""Values by problem: rows and samples average alike, and whole problems are drawn."""

from __future__ import annotations

import numpy as np

from reasonmech import stats


def test_by_problem_averages_samples_and_rows_alike() -> None:
    grid = np.random.default_rng(0).normal(size=(7, 4))
    rows, problems = grid.ravel(), np.repeat([f"p{i}" for i in range(7)], 4)
    assert np.allclose(stats.by_problem(grid), grid.mean(1))
    assert np.allclose(stats.by_problem(rows, problems), grid.mean(1))


def test_bootstrap_weights_draw_whole_samples() -> None:
    weights = np.concatenate(list(stats.bootstrap_weights(50, 300, seed=1)))
    assert weights.shape == (300, 50)
    assert (weights.sum(1) == 50).all()
    assert abs(weights.var() - 1) < 0.1  # multinomial: variance 1 - 1/50
