"""Intervals cover at their level, and are exact where they can be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats as scipy_stats

from reasonmech import stats
from reasonmech.errors import ArgumentError, DataError, NonFiniteError, ReasonmechError


def test_nan_empty_and_unequal_values_raise() -> None:
    with pytest.raises(NonFiniteError, match="1 of 2 values"):
        stats.mean_interval([0.5, float("nan")], bounds=stats.SHARE)
    with pytest.raises(DataError, match="no values"):
        stats.mean_interval([], bounds=stats.SHARE)
    with pytest.raises(DataError, match="3 problems against 2"):
        stats.paired_bootstrap([1, 0, 1], [1, 0])


def test_binary_single_rollouts_have_the_clopper_pearson_interval() -> None:
    interval = stats.mean_interval([1] * 20, bounds=stats.SHARE)
    assert interval.estimate == 1.0
    assert interval.low == pytest.approx(scipy_stats.beta.ppf(0.025, 20, 1))
    assert interval.high == 1.0


@pytest.mark.parametrize("kind", ["paired", "rows"])
def test_bootstrap_covers_at_its_level(kind: str) -> None:
    """Problems differ, rollouts within a problem correlate: 400 replicates, 93-97 %, give or take."""
    rng, hits, truth = np.random.default_rng(2), 0, 0.2
    for seed in range(400):
        ease = rng.normal(size=(80, 1))
        a, b = (ease + shift + rng.normal(size=(80, 4)) for shift in (truth, 0.0))
        a = a + 0.5 * rng.normal(size=(80, 1))
        if kind == "paired":
            interval = stats.paired_bootstrap(a, b, bounds=None, draws=1000, seed=seed)
        else:
            interval = stats.ratio_interval((a - b).sum(1), np.full(80, 4), draws=1000, seed=seed)
        hits += interval.covers(truth)
    assert 0.93 - 0.022 <= hits / 400 <= 0.97 + 0.022


def test_fieller_agrees_with_the_bootstrap_and_is_infinite_without_a_gap() -> None:
    rng = np.random.default_rng(5)
    gap = 0.6 + 0.3 * rng.normal(size=200)
    gain = 0.5 * gap + 0.2 * rng.normal(size=200)
    exact = stats.fieller(gain, gap)
    bootstrap = stats.recovery(np.zeros(200), gap, gain, bounds=None)
    assert exact.estimate == pytest.approx(bootstrap.estimate)
    assert exact.low == pytest.approx(bootstrap.low, abs=0.02)  # Monte-Carlo error of 10,000 draws
    assert exact.high == pytest.approx(bootstrap.high, abs=0.02)
    assert stats.fieller(gain, gap - gap.mean()).high == np.inf


def test_a_single_problem_has_no_interval() -> None:
    calls = (
        lambda: stats.mean_interval([0.3], bounds=None),
        lambda: stats.mean_interval([0.3], bounds=stats.SHARE),
        lambda: stats.ratio_interval([1], [2]),
        lambda: stats.paired_bootstrap([[1, 0]], [[0, 0]]),
        lambda: stats.fieller([1.0], [2.0]),
        lambda: stats.recovery([0.0], [1.0], [0.5]),
        lambda: stats.tost([0.0], [0.1], margin=0.5),
    )
    for call in calls:
        with pytest.raises(DataError, match="1 problem has no interval") as caught:
            call()
        assert caught.value.allowed and caught.value.do
    assert stats.mean_interval([1.0], bounds=stats.SHARE).low == pytest.approx(
        0.025
    )  # one 0 or 1: exact, and wide


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: stats.mean_interval("0.5", bounds=None), ArgumentError, "values is the string '0.5'"),
        (lambda: stats.mean_interval(0.5, bounds=None), ArgumentError, r"values is the number 0\.5"),
        (lambda: stats.mean_interval(["a", "b"], bounds=None), ArgumentError, "begins with the string 'a'"),
        (lambda: stats.mean_interval([[1, 2], [3]], bounds=None), ArgumentError, "is no array"),
        (
            lambda: stats.mean_interval([1.0, 0.0], "p", bounds=None),
            ArgumentError,
            "problems is the string 'p'",
        ),
        (lambda: stats.mean_interval([1.0, 0.0], ["p"], bounds=None), DataError, "one problem id per value"),
        (lambda: stats.mean_interval([0.1, 0.2], bounds=None, level=95), DataError, "0.95, not 95"),
        (lambda: stats.mean_interval([0.1, 0.2], bounds=None, draws=0), DataError, "draws >= 1"),
        (lambda: stats.mean_interval([0.1, 0.2], bounds=(0, 1), draws=0), DataError, "draws >= 1"),
        (lambda: stats.mean_interval([0.1, 1.2], bounds=(0, 1)), DataError, r"1 of 2 .* 1\.2 the first"),
        (lambda: stats.mean_interval([0.1, 0.2], bounds=(1, 0)), DataError, r"bounds \(1, 0\)"),
        (lambda: stats.mean_interval([0.1, 0.2], bounds=(0, float("inf"))), ArgumentError, "bounds"),
        (lambda: stats.mean_interval([0.1, 0.2], bounds=1), ArgumentError, "bounds is the integer 1"),
        (lambda: stats.paired_bootstrap([0, -1], [0, 0]), DataError, r"of a outside of \[0, 1\]"),
        (lambda: stats.recovery([0, 2], [1, 1], [1, 1]), DataError, r"of base outside of \[0, 1\]"),
        (lambda: stats.rate_interval([1, 3], [2, 2]), DataError, "3 hits of 2"),
        (lambda: stats.rate_interval([0, 0], [0, 0]), DataError, "no opportunity"),
        (lambda: stats.tost([1, 0], [1, 0], margin=0.1, bounds=None), DataError, "all 2 problems differ by"),
        (lambda: stats.factorial(bb=[0], bt=[0], tb=[0], tt=[0]), DataError, "1 problem has no interval"),
        (lambda: stats.factorial(bb=[0, 1], bt=[0, 1], tb=[0], tt=[0, 1]), DataError, "bb 2, bt 2, tb 1"),
        (lambda: stats.ratio_interval([1, 2], [1, 2, 3]), DataError, "2 problems against 3"),
        (lambda: stats.ratio_interval([1, 2], [1, float("inf")]), NonFiniteError, "1 of 2 values"),
        (lambda: stats.paired_bootstrap([1, 0], "10"), ArgumentError, "values is the string '10'"),
        (lambda: stats.recovery([0, 1], [1, 1], [float("nan"), 1]), NonFiniteError, "1 of 2 values"),
        (lambda: stats.clopper_pearson(3, 2), DataError, "3 successes of 2"),
        (lambda: stats.clopper_pearson(0, 0), DataError, "0 successes of 0"),
        (lambda: stats.auroc("abc", [True], ["p"]), ArgumentError, "scores is the string 'abc'"),
        (lambda: stats.auroc(["a", "b"], [True, False], ["p", "q"]), ArgumentError, "begins with the string"),
        (lambda: stats.auroc([1, 2], ["yes", "no"], ["p", "q"]), ArgumentError, "string 'yes'"),
        (lambda: stats.auroc([1, 2], [0, 2], ["p", "q"]), ArgumentError, "True or False"),
        (lambda: stats.auroc([1, 2], [0, 1], ["p", "q", "r"]), DataError, r"scores \(2,\).*problems \(3,\)"),
        (lambda: stats.mcnemar([1, 0], [1]), DataError, r"a \(2,\), b \(1,\)"),
        (lambda: stats.mcnemar(["right"], ["wrong"]), ArgumentError, "string 'right'"),
        (lambda: stats.tost([1, 0], [1, 1], margin=-0.1), DataError, "margin > 0"),
        (lambda: stats.bh([0.5, 1.5]), DataError, r"1 of 2 p-values outside \[0, 1\], 1\.5"),
        (lambda: stats.holm([0.5, float("nan")]), NonFiniteError, "1 of 2 p-values"),
        (lambda: stats.max_t([1.0], [1.0, 2.0]), DataError, r"null of shape \(2,\)"),
        (lambda: stats.cohen_kappa(["yes"], ["no"], problems=["p"]), ArgumentError, "string 'yes'"),
    ],
)
def test_a_wrong_argument_raises_in_three_parts(
    call: Callable[[], object], error: type[ReasonmechError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.allowed or caught.value.do


def test_draws_without_a_denominator_leave_a_ratio_open() -> None:
    """One of three problems has any: a third of the draws have none, and may be any ratio."""
    interval = stats.ratio_interval([1, 0, 2], [1, 0, 0])
    assert (interval.estimate, interval.low, interval.high) == (3.0, -np.inf, np.inf) and interval.unbounded
    rare = stats.ratio_interval([1.0] * 8 + [0.0] * 8, [2.0] * 8 + [0.0] * 8)
    assert rare.low == rare.high == 0.5  # 1 draw in 65,000 has none: below either tail
    with pytest.raises(DataError, match="add up to 0"):
        stats.ratio_interval([1, 2], [0, 0])
