"""Intervals cover, exact tests equal scipy's or brute force, and ratios say when they have no bound."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from reasonmech import stats
from reasonmech.errors import DataError, NonFiniteError
from reasonmech.stats.auroc import influence


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
    """Problems differ, rollouts within a problem correlate: 400 replicates, 93-97 % give or take their own
    error."""
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
    assert (same.estimate, same.low, same.high) == (
        1.0,
        1.0,
        1.0,
    )  # paired: numerator and gap are the same draws
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


def test_max_t_of_few_problems_is_not_below_what_flipping_their_signs_can_give() -> None:
    """All five problems agree: two of the 32 sign patterns reach that, whatever the order of summation."""
    rng = np.random.default_rng(12)
    for _ in range(20):
        parts = rng.uniform(0.1, 2.0, 5)
        unit = parts / np.sqrt((parts**2).sum())
        null = rng.choice((-1.0, 1.0), (999, 5)) @ unit[:, None]
        assert stats.max_t([unit.sum()], null)[0] > 0.03


def test_auroc_equals_every_pair_compared_and_its_error_that_of_resampled_problems() -> None:
    rng = np.random.default_rng(8)
    problems = np.repeat(np.arange(200), 6)
    positive = rng.random(1200) < 0.4
    scores = np.round(
        rng.normal(size=1200) + positive + np.repeat(rng.normal(size=200), 6), 1
    )  # rounding makes ties
    found, (value, psi) = stats.auroc(scores, positive, problems), influence(scores, positive, problems)
    assert found.estimate == value == pytest.approx(_brute_auroc(scores, positive))
    assert psi.sum() == pytest.approx(0, abs=1e-12) and psi.std() > 0
    drawn = []
    for weights in np.concatenate(list(stats.bootstrap_weights(200, 300, seed=9))).astype(int):
        rows = np.repeat(np.arange(1200), weights[problems])
        drawn.append(_brute_auroc(scores[rows], positive[rows]))
    assert np.sqrt((psi**2).sum()) == pytest.approx(np.std(drawn), rel=0.12)  # 300 draws know an error to 4 %
    assert found.high - found.low == pytest.approx(2 * 1.97 * np.std(drawn), rel=0.15)


def test_auroc_within_strata_compares_no_row_with_one_of_another() -> None:
    rng = np.random.default_rng(13)
    problems, word = np.repeat(np.arange(60), 10), rng.integers(0, 8, 600)
    positive = rng.random(600) < np.where(word < 3, 0.8, 0.1) * (word < 7)  # word 7 is never positive
    scores = np.round(10.0 * (word < 3) + rng.normal(size=600) + positive, 1)
    found = stats.auroc(scores, positive, problems, within=word)
    wins = pairs = 0.0
    for w in range(8):
        a, b = scores[(word == w) & positive], scores[(word == w) & ~positive]
        wins, pairs = wins + (a[:, None] > b).sum() + 0.5 * (a[:, None] == b).sum(), pairs + len(a) * len(b)
    assert (
        found.estimate == pytest.approx(wins / pairs)
        and stats.auroc(scores, positive, problems).estimate > 0.85
    )
    assert found.low < 0.76 < found.high  # two normals one apart: Phi(1 / sqrt 2) = 0.760
    with pytest.raises(DataError, match="0 problems hold a positive row"):
        stats.auroc(scores, positive, problems, within=np.arange(600))


def test_auroc_of_many_rows_is_quick_and_too_few_problems_are_refused() -> None:
    rng = np.random.default_rng(10)
    n = 200_000
    positive = rng.random(n) < 0.5
    found = stats.auroc(rng.normal(size=n) + positive, positive, np.arange(n) // 50)
    assert found.low < 0.7602 < found.high and found.high - found.low < 0.01
    with pytest.raises(DataError, match="4 problems hold a positive row"):
        stats.auroc(np.arange(40), np.arange(40) < 4, np.arange(40))
    with pytest.raises(NonFiniteError, match="1 of 40 scores are NaN"):
        stats.auroc(np.where(np.arange(40) == 3, np.nan, 1.0), np.arange(40) % 2 == 0, np.arange(40))


def test_an_auroc_of_one_in_few_problems_is_no_certainty() -> None:
    """Where no pair is lost there is no spread to take an error from: k rights in k are k rights in k."""
    positive, problems = np.arange(40) % 2 == 0, np.arange(40) // 2
    found = stats.auroc(positive * 1.0, positive, problems)
    assert (found.estimate, found.high) == (1.0, 1.0) and found.low == pytest.approx(
        0.025 ** (1 / 20), abs=0.02
    )
    turned = stats.auroc(-1.0 * positive, positive, problems)
    assert (turned.estimate, turned.low, turned.high) == pytest.approx((0.0, 0.0, 1 - found.low))
    nothing = stats.auroc(np.zeros(40), positive, problems)
    assert nothing[:3] == (0.5, 0.5, 0.5)  # a constant tells nothing, in any draw of problems


def test_auroc_of_few_positives_that_all_fire_is_no_certainty() -> None:
    """12 positives in as many problems, of which a detector finds 97 %: mostly all 12, and no spread is
    seen."""
    rng, hits, problems = np.random.default_rng(15), 0, np.repeat(np.arange(60), 20)
    for _ in range(300):
        positive = (np.arange(1200) % 20 == 0) & np.isin(problems, rng.choice(60, 12, replace=False))
        fires = rng.random(1200) < np.where(positive, 0.97, 0.01)
        hits += stats.auroc(fires * rng.uniform(1, 2, 1200), positive, problems).covers(0.98)
    assert hits / 300 > 0.92


@pytest.mark.parametrize(("problems", "hit", "leak"), [(20, 0.97, 0.02), (40, 0.995, 0.005)])
def test_auroc_interval_covers_near_one(problems: int, hit: float, leak: float) -> None:
    """A feature that is almost always right; the percentile bootstrap by problem covers 87 % and 60 %
    here."""
    rng, hits, of = np.random.default_rng(14), 0, np.repeat(np.arange(problems), 6)
    truth = hit * (1 - leak) + 0.5 * (hit * leak + (1 - hit) * (1 - leak))
    for _ in range(400):
        positive = rng.random(6 * problems) < np.repeat(rng.beta(1, 2, problems), 6)
        fires = rng.random(6 * problems) < np.where(positive, hit, leak)
        hits += stats.auroc(fires * rng.uniform(1, 2, 6 * problems), positive, of).covers(truth)
    assert hits / 400 > 0.92


def test_auroc_interval_covers_when_rows_of_a_problem_belong_together() -> None:
    """Scores and labels both cluster by problem; the truth is the mean over many worlds."""
    rng, hits = np.random.default_rng(11), 0
    problems = np.repeat(np.arange(80), 8)

    def world() -> tuple[np.ndarray, np.ndarray]:
        kind = np.repeat(rng.normal(size=80), 8)
        positive = rng.random(640) < 1 / (1 + np.exp(-kind))
        return positive + 0.7 * kind + rng.normal(size=640), positive

    truth = np.mean([_brute_auroc(*world()) for _ in range(400)])
    for _ in range(300):
        hits += stats.auroc(*world(), problems).covers(float(truth))
    assert 0.93 - 0.025 <= hits / 300 <= 0.97 + 0.025  # two standard errors of 300 replicates
