"""Cohen's kappa equals the libraries', its interval covers, and it says where it is undefined."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from reasonmech.errors import DataError
from reasonmech.stats.kappa import cohen_kappa, kappas


def test_kappa_equals_that_of_scikit_learn_and_statsmodels() -> None:
    rng = np.random.default_rng(0)
    tables = rng.integers(1, 40, (50, 4))
    for table, kappa in zip(tables, kappas(tables.astype(float)), strict=True):
        both, first, second, neither = table
        expected = cohens_kappa(np.array([[neither, second], [first, both]]), return_results=False)
        assert kappa == pytest.approx(float(expected), abs=1e-12)  # the same ratio, summed in another order
        a = np.repeat([True, True, False, False], table)
        b = np.repeat([True, False, True, False], table)
        agreement = cohen_kappa(a, b, problems=np.arange(len(a)) % 7, draws=10)
        assert agreement.kappa == cohen_kappa_score(a, b)
        assert (agreement.both, agreement.only_first, agreement.only_second, agreement.neither) == tuple(
            table
        )
        assert agreement.n == table.sum() and agreement.problems == 7


def test_the_interval_covers_the_truth_when_problems_differ() -> None:
    """Problems differ in their rate of yes; the second labeller flips a fifth of the first's labels."""
    rng, n_covered, runs = np.random.default_rng(1), 0, 120
    estimates, widths = [], []
    rates, flip = np.array([0.1, 0.3, 0.7]), 0.2
    yes = rates.mean()
    observed, second = 1 - flip, yes * (1 - flip) + (1 - yes) * flip
    expected = yes * second + (1 - yes) * (1 - second)
    truth = (observed - expected) / (1 - expected)
    for run in range(runs):
        problem = np.repeat(np.arange(80), 8)
        a = rng.random(640) < rates[rng.integers(0, 3, 80)][problem]
        b = a ^ (rng.random(640) < flip)
        agreement = cohen_kappa(a, b, problems=problem, draws=400, seed=run)
        assert agreement.low is not None and agreement.high is not None and agreement.low < agreement.high
        n_covered += agreement.low <= truth <= agreement.high
        estimates.append(agreement.kappa)
        widths.append(agreement.high - agreement.low)
    assert n_covered / runs >= 0.93
    assert np.mean(widths) < 1.5 * 2 * 1.96 * np.std(estimates)  # the unseen problem widens it, no more


@pytest.mark.parametrize("clumped", [False, True], ids=["any item", "whole problems"])
@pytest.mark.parametrize("flip", [0.002, 0.2])
@pytest.mark.parametrize(
    ("n", "size", "rates"), [(30, 8, (0.1, 0.3, 0.7)), (100, 1, (0.1, 0.3, 0.7)), (60, 20, (0.05,))]
)
def test_the_interval_covers_where_hardly_anything_differs(
    n: int, size: int, rates: tuple[float, ...], flip: float, clumped: bool
) -> None:
    """Disagreements so rare that most samples hold none, spread over items or taking whole problems."""
    rng, hits, n_bounded = np.random.default_rng(n + size), 0, 0
    yes, problem = np.mean(rates), np.repeat(np.arange(n), size)
    second = yes * (1 - flip) + (1 - yes) * flip
    expected = yes * second + (1 - yes) * (1 - second)
    truth = (1 - flip - expected) / (1 - expected)
    for run in range(120):
        a = rng.random(n * size) < rng.choice(rates, n)[problem]
        b = a ^ ((rng.random(n) < flip)[problem] if clumped else rng.random(n * size) < flip)
        agreement = cohen_kappa(a, b, problems=problem, draws=300, seed=run)
        if agreement.low is not None and agreement.high is not None:
            n_bounded += 1
            hits += agreement.low <= truth <= agreement.high
    assert n_bounded > 110 and hits / n_bounded >= 0.93


def test_two_labellers_that_never_differed_may() -> None:
    alike = np.arange(100) % 2 == 0
    agreement = cohen_kappa(alike, alike, problems=np.arange(100))
    assert agreement.low is not None and agreement.kappa == agreement.high == 1.0
    # a rate of disagreement of 3.6 % is what 100 problems without one exclude (Clopper-Pearson)
    assert 0.9 < agreement.low < 0.95


def test_an_undefined_kappa_is_none_with_its_reason() -> None:
    constant = cohen_kappa([False] * 4, [False] * 4, problems=list("abcd"))
    assert (
        constant.kappa is None
        and constant.low is None
        and constant.why_none == "both labellers said no to all 4 items"
    )
    assert "undefined" in str(constant)
    one_sided = cohen_kappa([True, False, True, False], [False] * 4, problems=list("abcd"))
    assert one_sided.kappa == 0.0 and one_sided.low is None and "problems with a yes: 2" in one_sided.why_none
    everywhere = cohen_kappa([True] * 9 + [False], [True] * 10, problems=list("abcdefghij"))
    assert "problems with a no: 1" in everywhere.why_none
    with pytest.raises(DataError, match="at least one item"):
        cohen_kappa([], [], problems=[])
    with pytest.raises(DataError, match="one label of each labeller"):
        cohen_kappa([True], [True, False], problems=["a", "b"])
