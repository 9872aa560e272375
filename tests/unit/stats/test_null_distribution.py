"""An arm among draws of its null: how often it is wrongly above them, and what few draws do not say."""

from __future__ import annotations

import numpy as np
import pytest

from reasonmech import stats
from reasonmech.errors import DataError
from reasonmech.stats.null_distribution import QUANTILE, draws_needed


def outcomes(rng: np.random.Generator, n_arms: int, n_problems: int, spread: float) -> np.ndarray:
    """[arm, problem] rights of arms that are not equally good, on problems of unlike ease."""
    ease, good = rng.normal(size=n_problems), spread * rng.normal(size=(n_arms, 1))
    return (rng.normal(size=(n_arms, n_problems)) < ease + good).astype(float)


@pytest.mark.parametrize("n", [19, 20, 99])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_an_arm_like_its_null_is_above_it_in_5_percent_at_most(n: int, spread: float) -> None:
    """Draws that differ as much as random vectors do: the spread between them is what a single one hides."""
    rng = np.random.default_rng(n)
    p = []
    for _ in range(2000):
        means = outcomes(rng, n + 1, 40, spread).mean(1)
        arm, null = means[0], np.sort(means[1:])
        p.append((1 + (null >= arm - 1e-9).sum()) / (1 + n))
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 0.01  # two standard errors of 2000 samples
    right = outcomes(rng, n + 1, 40, spread)
    one = stats.null_distribution(right[0], right[1:])
    assert one.p == pytest.approx((1 + (right[1:].mean(1) >= right[0].mean() - 1e-9).sum()) / (1 + n))


def test_one_draw_says_less_than_many() -> None:
    """A null of which one seed in 20 recovers a lot: the seed that was drawn first shows nothing."""
    rng = np.random.default_rng(2)
    null = (rng.random((20, 200)) < np.r_[np.full(19, 0.2), 0.6][:, None]).astype(float)
    arm = (rng.random(200) < 0.5).astype(float)
    alone, among = stats.null_distribution(arm, null[:1]), stats.null_distribution(arm, null)
    assert (alone.p, alone.smallest_p) == (0.5, 0.5)
    assert among.p == pytest.approx(2 / 21) and among.smallest_p == pytest.approx(1 / 21)
    assert among.share_below == 0.95
    assert among.above.low > 0.2, "far above their mean, by problem, and not above all of them"
    assert among.spread == pytest.approx(null.mean(1).std(ddof=1))


@pytest.mark.parametrize(("n", "has_upper"), [(19, False), (71, False), (72, True)])
def test_the_nulls_quantile_is_that_of_its_order_statistics(n: int, has_upper: bool) -> None:
    rng, hits, n_above = np.random.default_rng(3), 0, 0
    problems = np.linspace(-1, 1, 4)  # their mean is 0, so that a draw's statistic is what is drawn
    for _ in range(300):
        draws = rng.normal(size=n)
        null = stats.null_distribution(problems, draws[:, None] + problems, bounds=(-9, 9))
        hits += null.quantile.covers(1.6449)
        n_above += null.quantile.estimate >= 1.6449
        assert np.isfinite(null.quantile.high) == has_upper
    assert hits / 300 >= 0.93
    assert 0.45 < n_above / 300 < 0.75
    assert ("not estimable with" in str(null)) == (not has_upper)


def test_too_few_draws_have_no_quantile() -> None:
    assert draws_needed() == 19 and 19 / 20 >= QUANTILE > 18 / 19
    null = stats.null_distribution([1, 0, 1], np.zeros((18, 3)))
    assert np.isnan(null.quantile.estimate) and null.quantile.unbounded
    assert null.describe_quantile() == "not estimable with 18 draws (19 have an estimate)"


def test_draws_that_equal_the_arm_reach_it() -> None:
    null = stats.null_distribution([1, 0, 1], np.tile([1, 1, 0], (19, 1)))
    assert null.p == 1.0 and null.share_below == 0.0
    of_samples = stats.null_distribution([[1, 1], [0, 1]], np.zeros((19, 2, 2)))
    assert of_samples.arm == 0.75 and of_samples.p == 0.05


def test_a_null_on_other_problems_is_refused() -> None:
    for null in (np.zeros((5, 2)), np.zeros(5), np.zeros((0, 3))):
        with pytest.raises(DataError, match=r"a null of shape .* for 3 problems") as caught:
            stats.null_distribution([1, 0, 1], null)
        assert caught.value.do
    with pytest.raises(DataError, match=r"of null outside of \[0, 1\]"):
        stats.null_distribution([1, 0, 1], np.full((5, 3), 2.0))
