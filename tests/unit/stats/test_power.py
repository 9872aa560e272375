"""What a design can show, held to simulations of the tests that show it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from reasonmech import stats
from reasonmech.errors import DataError, ReasonmechError


@cache
def rejects(a: int, b: int) -> bool:
    return a > b and stats.mcnemar([1] * a + [0] * b, [0] * a + [1] * b).p <= 0.05


def share_shown(n: int, only_a: float, only_b: float, *, samples: int = 2000) -> float:
    drawn = np.random.default_rng(1).multinomial(n, (only_a, only_b, 1 - only_a - only_b), samples)
    counts, times = np.unique(drawn[:, :2], axis=0, return_counts=True)
    shown = [rejects(a, b) for a, b in counts.tolist()]
    return float(times @ shown / samples)


@pytest.mark.parametrize("n", [20, 100, 500])
@pytest.mark.parametrize("discordance", [0.0, 0.05, 0.3])
def test_the_detectable_difference_is_found_at_its_power(n: int, discordance: float) -> None:
    difference = stats.detectable_difference(n, discordance=discordance)
    together = max(difference, discordance)
    at, below = (
        share_shown(n, (together + d) / 2, (together - d) / 2) for d in (difference, 0.7 * difference)
    )
    assert at == pytest.approx(0.8, abs=0.03)
    assert below < 0.7
    assert stats.problems_for_difference(difference, discordance=discordance) == pytest.approx(n, rel=0.05)


def test_few_discordant_pairs_show_nothing_whatever_their_lean() -> None:
    """Six of one side are the fewest that McNemar's test rejects on; 500 problems with 1 in 500 have one."""
    assert stats.detectable_difference(500, discordance=0.002) > 0.01
    with pytest.raises(DataError, match="5 problems can show no difference") as caught:
        stats.detectable_difference(5, discordance=0.5)
    assert "at least 6" in caught.value.allowed


@pytest.mark.parametrize(("margin", "discordance"), [(0.05, 0.02), (0.05, 0.1), (0.1, 0.3)])
def test_equivalence_is_shown_at_its_power(margin: float, discordance: float) -> None:
    n = stats.problems_for_equivalence(margin, discordance=discordance)
    drawn = np.random.default_rng(2).multinomial(n, (discordance / 2, discordance / 2, 1 - discordance), 400)
    shown = [
        stats.tost(np.repeat([1, 0, 0], k), np.repeat([0, 1, 0], k), margin=margin).equivalent for k in drawn
    ]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.07)  # three standard errors of 400 samples


def test_equivalence_without_discordance_takes_as_many_as_all_must_agree() -> None:
    assert stats.problems_for_equivalence(0.05, discordance=0.0) == stats.fewest_problems(0.05) == 59
    assert stats.problems_for_equivalence(0.05, discordance=1e-6) == pytest.approx(59, abs=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.detectable_difference(100, discordance=1.2), "discordance 1.2"),
        (lambda: stats.problems_for_difference(0.0, discordance=0.1), "difference 0.0"),
        (lambda: stats.problems_for_equivalence(1.5, discordance=0.1), "margin 1.5"),
        (lambda: stats.problems_for_equivalence(0.05, discordance=0.1, power=1.0), "power 1.0"),
        (lambda: stats.problems_for_difference(1e-5, discordance=0.5), "more than 50,000"),
        (lambda: stats.fewest_problems(0.0), "margin 0.0"),
    ],
)
def test_what_is_no_design_is_refused(call, message: str) -> None:
    with pytest.raises(ReasonmechError, match=message) as caught:
        call()
    assert caught.value.allowed or caught.value.do


@pytest.mark.parametrize("discordance", [0.0, 0.1, 0.3])
def test_an_effect_beyond_a_margin_is_found_at_its_power(discordance: float) -> None:
    n, margin = 200, 0.05
    difference = stats.detectable_difference(n, discordance=discordance, beyond=margin)
    assert difference > stats.detectable_difference(n, discordance=discordance) and difference > margin
    together, rng, shown = max(difference, discordance), np.random.default_rng(3), 0
    for _ in range(300):
        only_a, only_b, _ = rng.multinomial(
            n, ((together + difference) / 2, (together - difference) / 2, 1 - together)
        )
        values = np.r_[np.ones(only_a), -np.ones(only_b), np.zeros(n - only_a - only_b)]
        shown += stats.mean_interval(values, bounds=stats.CONTRAST, draws=1000).low > margin
    assert shown / 300 == pytest.approx(0.8, abs=0.07)
    with pytest.raises(DataError, match="can show no difference"):
        stats.detectable_difference(3, discordance=0.0, beyond=0.5)
