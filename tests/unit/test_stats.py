"""Intervals cover, exact tests equal scipy's or brute force, and ratios say when they have no bound."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from reasonmech import stats
from reasonmech.errors import DataError, NonFiniteError


def _brute_auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    wins = scores[positive][:, None] - scores[~positive][None]
    return float(((wins > 0) + 0.5 * (wins == 0)).mean())


def test_by_problem_averages_samples_and_rows_alike() -> None:
    grid = np.random.default_rng(0).normal(size=(7, 4))
    rows, problems = grid.ravel(), np.repeat([f"p{i}" for i in range(7)], 4)
    assert np.allclose(stats.by_problem(grid), grid.mean(1))
    assert np.allclose(stats.by_problem(rows, problems), grid.mean(1))


def test_nan_and_empty_values_are_refused() -> None:
    with pytest.raises(NonFiniteError, match="1 of 2 values"):
        stats.mean_interval([0.5, float("nan")])
    with pytest.raises(DataError, match="no values"):
        stats.mean_interval([])
    with pytest.raises(DataError, match="3 problems against 2"):
        stats.paired_bootstrap([1, 0, 1], [1, 0])


def test_bootstrap_weights_draw_whole_samples() -> None:
    weights = np.concatenate(list(stats.bootstrap_weights(50, 300, seed=1)))
    assert weights.shape == (300, 50)
    assert (weights.sum(1) == 50).all()
    assert abs(weights.var() - 1) < 0.1  # multinomial: variance 1 - 1/50


def test_binary_single_rollouts_get_the_exact_interval() -> None:
    interval = stats.mean_interval([1] * 20)
    assert interval.estimate == 1.0
    assert interval.low == pytest.approx(scipy_stats.beta.ppf(0.025, 20, 1))
    assert interval.high == 1.0


@pytest.mark.parametrize("kind", ["paired", "rows"])
def test_bootstrap_covers_at_its_level(kind: str) -> None:
    """Problems differ, rollouts within a problem correlate: 400 replicates, 93-97 % give or take their own error."""
    rng, hits, truth = np.random.default_rng(2), 0, 0.2
    for seed in range(400):
        ease = rng.normal(size=(80, 1))
        a, b = (ease + shift + rng.normal(size=(80, 4)) for shift in (truth, 0.0))
        a = a + 0.5 * rng.normal(size=(80, 1))
        if kind == "paired":
            interval = stats.paired_bootstrap(a, b, draws=1000, seed=seed)
        else:
            interval = stats.ratio_interval((a - b).sum(1), np.full(80, 4), draws=1000, seed=seed)
        hits += interval.covers(truth)
    assert 0.93 - 0.022 <= hits / 400 <= 0.97 + 0.022


def test_recovery_is_signed_unclipped_and_paired() -> None:
    rng = np.random.default_rng(3)
    base = (rng.random(300) < 0.3).astype(float)
    thinking = np.ones(300)
    same = stats.recovery(base, thinking, thinking)
    assert (same.estimate, same.low, same.high) == (1.0, 1.0, 1.0)  # paired: numerator and gap are the same draws
    worse = np.where(rng.random(300) < 0.5, 0.0, base)
    found = stats.recovery(base, thinking, worse)
    assert found.estimate < 0
    assert found.low < found.estimate < found.high
    assert not found.unbounded
    assert not found.weak
    assert found.estimate == pytest.approx((worse - base).mean() / (thinking - base).mean())


def test_recovery_without_a_gap_is_unbounded() -> None:
    rng = np.random.default_rng(4)
    base, thinking, arm = (rng.random((50, 4)) < 0.5 for _ in range(3))
    found = stats.recovery(base, thinking, arm)
    assert found.unbounded
    assert found.weak
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert "unbounded" in str(found)


def test_fieller_agrees_with_the_bootstrap_and_knows_no_bound() -> None:
    rng = np.random.default_rng(5)
    gap = 0.6 + 0.3 * rng.normal(size=200)
    gain = 0.5 * gap + 0.2 * rng.normal(size=200)
    exact = stats.fieller(gain, gap)
    drawn = stats.recovery(np.zeros(200), gap, gain)
    assert exact.estimate == pytest.approx(drawn.estimate)
    assert exact.low == pytest.approx(drawn.low, abs=0.02)  # Monte-Carlo error of 10,000 draws
    assert exact.high == pytest.approx(drawn.high, abs=0.02)
    assert stats.fieller(gain, gap - gap.mean()).high == np.inf


def test_mcnemar_is_the_binomial_of_discordant_pairs() -> None:
    a, b = np.array([1] * 10 + [0] * 3 + [1] * 40), np.array([0] * 10 + [1] * 3 + [1] * 40)
    assert stats.mcnemar(a, b) == (10, 3, pytest.approx(scipy_stats.binomtest(10, 13).pvalue))
    assert stats.mcnemar(a, a).p == 1.0


def test_tost_needs_precision_not_only_a_small_difference() -> None:
    rng = np.random.default_rng(6)
    base = rng.normal(size=400)
    assert stats.tost(base + 0.01 * rng.normal(size=400), base, margin=0.05).equivalent
    noisy = stats.tost(np.tile([1.0, 0.0], 10), np.tile([0.0, 1.0], 10), margin=0.05)
    assert noisy.estimate == 0
    assert not noisy.equivalent
    assert noisy.low < -0.05 < 0.05 < noisy.high
    assert stats.tost(base, base, margin=0.05).equivalent


def test_multiplicity_equals_statsmodels() -> None:
    p = np.random.default_rng(7).random(40) ** 2
    assert np.allclose(stats.holm(p), multipletests(p, method="holm")[1])
    assert np.allclose(stats.bh(p), multipletests(p, method="fdr_bh")[1])


def test_max_t_counts_draws_whose_largest_statistic_is_as_large() -> None:
    null = np.array([[0.1, -2.0], [1.0, 0.5], [0.2, 0.3]])
    assert stats.max_t([1.5, 3.0, 0.0], null).tolist() == [0.5, 0.25, 1.0]


def test_auroc_equals_every_pair_compared_and_its_bootstrap_equals_resampling_rows() -> None:
    rng = np.random.default_rng(8)
    problems = np.repeat(np.arange(30), 6)
    positive = rng.random(180) < 0.4
    scores = np.round(rng.normal(size=180) + positive, 1)  # rounding makes ties
    found = stats.auroc(scores, positive, problems, draws=400, seed=9)
    assert found.estimate == pytest.approx(_brute_auroc(scores, positive))
    weights = np.concatenate(list(stats.bootstrap_weights(30, 400, seed=9))).astype(int)
    drawn = []
    for row in weights:
        rows = np.repeat(np.arange(180), row[problems])
        drawn.append(_brute_auroc(scores[rows], positive[rows]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))))


def test_auroc_pools_problems_beyond_its_limit_and_refuses_too_few() -> None:
    rng = np.random.default_rng(10)
    n = 3 * stats.MAX_CLUSTERS
    positive = rng.random(n) < 0.5
    found = stats.auroc(rng.normal(size=n) + positive, positive, np.arange(n), draws=500)
    assert found.low < 0.76 < found.high  # two normals one apart: Phi(1 / sqrt 2) = 0.760
    assert found.high - found.low < 0.05
    with pytest.raises(DataError, match="4 problems hold a positive row"):
        stats.auroc(np.arange(40), np.arange(40) < 4, np.arange(40))


def test_auroc_interval_covers_when_rows_of_a_problem_belong_together() -> None:
    """Scores and labels both cluster by problem; the truth is the mean over many worlds."""
    rng, hits = np.random.default_rng(11), 0
    problems = np.repeat(np.arange(80), 8)

    def world() -> tuple[np.ndarray, np.ndarray]:
        kind = np.repeat(rng.normal(size=80), 8)
        positive = rng.random(640) < 1 / (1 + np.exp(-kind))
        return positive + 0.7 * kind + rng.normal(size=640), positive

    truth = np.mean([_brute_auroc(*world()) for _ in range(400)])
    for seed in range(300):
        hits += stats.auroc(*world(), problems, draws=600, seed=seed).covers(float(truth))
    assert 0.93 - 0.025 <= hits / 300 <= 0.97 + 0.025  # two standard errors of 300 replicates
