"""Tests equal scipy's, statsmodels' or brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats import contingency_tables, weightstats
from statsmodels.stats.multitest import multipletests

from reasonmech import stats


def test_mcnemar_is_the_binomial_of_discordant_pairs() -> None:
    a, b = np.array([1] * 10 + [0] * 3 + [1] * 40), np.array([0] * 10 + [1] * 3 + [1] * 40)
    assert stats.mcnemar(a, b) == (10, 3, pytest.approx(scipy_stats.binomtest(10, 13).pvalue))
    assert stats.mcnemar(a, a).p == 1.0


def test_tost_rejects_a_small_difference_that_is_known_imprecisely() -> None:
    rng = np.random.default_rng(6)
    base = rng.normal(size=400)
    assert stats.tost(base + 0.01 * rng.normal(size=400), base, margin=0.05, bounds=None).equivalent
    noisy = stats.tost(np.tile([1.0, 0.0], 10), np.tile([0.0, 1.0], 10), margin=0.05)
    assert noisy.estimate == 0
    assert not noisy.equivalent
    assert noisy.low < -0.05 < 0.05 < noisy.high
    right = (base > 0).astype(float)
    assert stats.tost(right, right, margin=0.05).equivalent


def test_mcnemar_and_tost_equal_statsmodels() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.random(80) < 0.6, rng.random(80) < 0.4
    table = np.array([[(x & y).sum() for y in (b, ~b)] for x in (a, ~a)])
    assert stats.mcnemar(a, b).p == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue)
    first, second = rng.normal(size=(2, 40))
    exact = weightstats.ttost_paired(first, second, -0.5, 0.5)[0]
    assert stats.tost(first, second, margin=0.5, bounds=None).p == pytest.approx(exact, rel=1e-12)


def test_multiplicity_equals_statsmodels() -> None:
    p = np.random.default_rng(7).random(40) ** 2
    assert np.array_equal(stats.holm(p), multipletests(p, method="holm")[1])
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


@pytest.mark.parametrize("margin", [0.02, 0.05, 0.1])
def test_as_many_problems_as_are_needed_without_a_difference_are_equivalent_and_one_fewer_are_not(
    margin: float,
) -> None:
    needed = stats.fewest_problems(margin)
    for n, equivalent in ((needed, True), (needed - 1, False)):
        alike = stats.mean_interval(np.zeros(n), bounds=stats.CONTRAST, level=0.9)
        assert (alike.high < margin) is equivalent
        right = np.ones(n) * 0.5
        assert stats.tost(right, right, margin=margin).equivalent is equivalent


def test_the_exact_ends_of_equal_problems_are_those_of_the_draws() -> None:
    exact = stats.mean_interval(np.full(60, 0.25), bounds=stats.CONTRAST)
    nearly = stats.mean_interval(np.r_[np.full(59, 0.25), 0.25 + 1e-9], bounds=stats.CONTRAST, draws=100_000)
    np.testing.assert_allclose(exact[:3], nearly[:3], atol=2e-3)


@pytest.mark.parametrize("value", [0.0, 0.01, -0.03, 0.2])
@pytest.mark.parametrize("n", [30, 58, 59, 300])
def test_p_of_problems_that_agree_is_the_alpha_at_which_they_become_equivalent(n: int, value: float) -> None:
    first = np.full(n, 0.5 + value)
    second = np.full(n, 0.5)
    measured = stats.tost(first, second, margin=0.05)
    assert (measured.p < 0.05) == measured.equivalent
    if abs(value) >= 0.05:
        assert measured.p == 1.0
        return
    for alpha, equivalent in ((measured.p * 1.001, True), (measured.p * 0.999, False)):
        if 0 < alpha < 0.5:
            assert stats.tost(first, second, margin=0.05, alpha=alpha).equivalent is equivalent
