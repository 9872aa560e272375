"""Intervals and tests of bounded values cover: simulations at the designs where a bootstrap is far too short.

Nominal 95 %, at least 93 % measured. The draws of outcomes are seeded, so nothing here fails by chance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Float

from reasonmech import stats

COVERS = 0.93
DISCORDANCE = (0.002, 0.01, 0.05, 0.3)
ONE_SIDED, LEANING, EVEN = 1.0, 0.75, 0.5  # share of the discordant pairs in which a alone is right

Counts = tuple[int, ...]


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the weights, for simulations: thousands of intervals."""
    for name in ("recovery", "factorial", "hypothesis_tests"):
        monkeypatch.setattr(sys.modules[f"reasonmech.stats.{name}"], "DRAWS", 1000)


def share_of(draws: np.ndarray, is_true: Callable[[Counts], bool]) -> float:
    """Share of drawn counts for which something is true; counts that occur twice are judged once."""
    distinct, times = np.unique(draws, axis=0, return_counts=True)
    return float(times @ [is_true(tuple(counts)) for counts in distinct.tolist()] / times.sum())


def differences(only_a: int, only_b: int, both: int) -> Float[np.ndarray, " problem"]:
    return np.repeat([1.0, -1.0, 0.0], (only_a, only_b, both))


@pytest.mark.parametrize("n", [10, 30, 100, 500])
def test_signed_contrasts_cover(n: int) -> None:
    """Single rollouts: {-1, 0, 1}, whether or not the sample has a -1 in it."""
    for discordance in DISCORDANCE:
        for lean in (ONE_SIDED, LEANING, EVEN):
            p = (discordance * lean, discordance * (1 - lean), 1 - discordance)
            drawn = np.random.default_rng(n).multinomial(n, p, 600)

            def covers(counts: Counts, truth: float = p[0] - p[1]) -> bool:
                values = differences(*counts)
                return stats.mean_interval(values, bounds=stats.CONTRAST, draws=2000).covers(truth)

            coverage = share_of(drawn, covers)
            assert coverage >= COVERS, f"{discordance} discordant, {lean} of them to a: {coverage}"


def test_a_contrast_that_was_never_negative_may_be() -> None:
    """Its support is said, not read off the sample; and a known support of [0, 1] is taken at its word."""
    sample = differences(3, 0, 97)
    assert stats.mean_interval(sample, bounds=stats.CONTRAST).low < 0
    assert stats.mean_interval(sample, bounds=stats.SHARE).low > 0
    assert stats.paired_bootstrap(sample, np.zeros(100)).low < 0
    assert stats.paired_bootstrap(np.ones(100), np.ones(100)).low == pytest.approx(
        -(1 - 0.025**0.01), rel=0.05
    )


def test_the_interval_excludes_0_where_mcnemars_test_rejects() -> None:
    """P(gamma(k) < gamma(m + 1)) is the binomial tail of k of k + m: the exact one-sided p-value."""
    n_rejected = 0
    for only_a in range(12):
        for only_b in range(4):
            a = np.repeat([1, 0, 0], (only_a, only_b, 40))
            b = np.repeat([0, 1, 0], (only_a, only_b, 40))
            p, interval = stats.mcnemar(a, b).p, stats.paired_bootstrap(a, b)
            if abs(p - 0.05) > 0.01:  # not for the draws to decide
                assert (p < 0.05) == (not interval.covers(0)), (only_a, only_b, p, interval)
                n_rejected += p < 0.05
    assert n_rejected > 5


def test_the_interval_is_little_wider_than_needed() -> None:
    """1.96 standard errors at 300 problems and a third discordant; one problem more on either side."""
    values = differences(60, 40, 200)
    interval = stats.mean_interval(values, bounds=stats.CONTRAST)
    usual = 2 * 1.96 * values.std(ddof=1) / np.sqrt(300)
    assert usual < interval.high - interval.low < usual + 2.5 * 2 / 300


@pytest.mark.parametrize("shape", [(0.05, 8.0), (8.0, 0.05), (0.3, 0.3), (2.0, 1.0)])
def test_shares_of_several_rollouts_cover(shape: tuple[float, float]) -> None:
    """Four rollouts of problems of Beta ease: nearly always wrong, nearly always right, either, mixed."""
    truth, rng = shape[0] / sum(shape), np.random.default_rng(3)
    for n in (10, 30, 100):
        right = rng.binomial(4, rng.beta(*shape, (400, n)))
        counts = np.stack([(right == k).sum(1) for k in range(5)], axis=1)

        def covers(counts: Counts) -> bool:
            values = np.repeat(np.arange(5) / 4, counts)
            return stats.mean_interval(values, bounds=stats.SHARE, draws=2000).covers(truth)

        assert share_of(counts, covers) >= COVERS, n


@pytest.mark.parametrize("rate", [0.0005, 0.01, 0.5, 0.999])
def test_rates_over_problems_with_different_opportunities_cover(rate: float) -> None:
    rng, hits = np.random.default_rng(7), 0
    for _ in range(400):
        n = 1 + rng.poisson(3, 100)
        ease = rng.beta(20 * rate, 20 * (1 - rate), 100)  # what a problem has done once it tends to do again
        hits += stats.rate_interval(rng.binomial(n, ease), n, draws=1000).covers(rate)
    assert hits / 400 >= COVERS


CELLS = np.array([(b, t, a) for b in (0, 1) for t in (0, 1) for a in (0, 1)], dtype=float)
FAILS = (0.0, 0.002, 0.01, 0.1, 0.5, 0.9, 0.998, 1.0)


def fitted(base: float, thinking: float, fails: float) -> Float[np.ndarray, " cell"]:
    """Chance of every cell where the arm does what the thinking model does, but fails in a share of that."""
    b, t, a = CELLS.T
    right = t * (1 - fails)
    return np.where(b, base, 1 - base) * np.where(t, thinking, 1 - thinking) * np.where(a, right, 1 - right)


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("n", [30, 100, 300])
def test_recovery_covers_where_an_arm_hardly_ever_fails_and_where_it_does(n: int) -> None:
    """From all to below nothing: an arm that always fails is worse than the base."""
    for base, thinking in ((0.3, 1.0), (0.6, 0.95)):
        for fails in FAILS:
            p = fitted(base, thinking, fails)
            truth = (thinking * (1 - fails) - base) / (thinking - base)
            drawn = np.random.default_rng(n).multinomial(n, p, 150)

            def covers(counts: Counts, truth: float = truth) -> bool:
                base, thinking, arm = np.repeat(CELLS, counts, axis=0).T
                ends = stats.recovery(base, thinking, arm)
                return ends.low <= truth <= ends.high

            coverage = share_of(drawn, covers)
            assert coverage >= COVERS, f"base {base}, thinking {thinking}, fails {fails}: {coverage}"


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("fails", FAILS)
def test_recovery_covers_with_several_rollouts(fails: float) -> None:
    """Four rollouts each, of problems of different ease; the arm fails by problem as well as by rollout."""
    rng, n, hits, n_bounded = np.random.default_rng(11), 60, 0, 0
    truth = (0.8 * (1 - fails) - 0.3) / (0.8 - 0.3)
    for _ in range(200):
        base, thinking = rng.beta(1.5, 3.5, n), rng.beta(8, 2, n)
        alike = fails if fails in (0, 1) else rng.beta(2 * fails, 2 * (1 - fails), n)
        shares = [rng.binomial(4, p, n) / 4 for p in (base, thinking, thinking * (1 - alike))]
        ends = stats.recovery(*shares)
        hits += ends.low <= truth <= ends.high
        n_bounded += not ends.unbounded
    assert hits / 200 >= COVERS
    assert n_bounded > 190, "the interval says something"


def test_recovery_of_an_arm_that_never_failed_is_no_certainty() -> None:
    """300 problems on which the arm did what the thinking model did; a failure in 500 would not show."""
    base, thinking = np.repeat([1.0, 0.0], (90, 210)), np.ones(300)
    share = stats.recovery(base, thinking, thinking)
    assert share.low < 1 - 0.002 / 0.7 < 1 < share.high
    assert share.low > 0.97


def test_a_gap_to_the_worse_recovers_as_one_to_the_better() -> None:
    """Right and wrong exchanged: the same ratio of two negative numbers, and the same interval."""
    rng = np.random.default_rng(13)
    base, thinking, arm = (rng.random(200) < p for p in (0.3, 0.9, 0.7))
    ends = stats.recovery(base, thinking, arm)
    turned = stats.recovery(~base, ~thinking, ~arm)
    assert ends.gap.low > 0 > turned.gap.high
    assert (turned.low, turned.high) == pytest.approx((ends.low, ends.high), abs=0.01)


def boundary(n: int, p: tuple[float, float], margin: float) -> float:
    """Share of samples on which `tost` declares two arms equivalent that differ by the margin."""
    drawn = np.random.default_rng(n).multinomial(n, (*p, 1 - sum(p)), 400)

    def is_declared(counts: Counts) -> bool:
        a, b = np.repeat([1, 0, 0], counts), np.repeat([0, 1, 0], counts)
        return stats.tost(a, b, margin=margin).equivalent

    return share_of(drawn, is_declared)


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("n", [10, 30, 200, 500])
def test_equivalence_is_declared_wrongly_in_5_percent_at_most(n: int) -> None:
    """At the margin, reached from either side, by discordant pairs that all lean one way or not."""
    for margin in (0.02, 0.05, 0.1):
        for extra in (0.0, 0.05, 0.2):  # discordant pairs that cancel out
            for p in ((margin + extra / 2, extra / 2), (extra / 2, margin + extra / 2)):
                # 0.022: two standard errors of 400 samples beyond 0.05
                assert boundary(n, p, margin) <= 0.05 + 0.022, (margin, extra, p)


def test_equivalence_is_found_where_there_are_problems_enough_for_it() -> None:
    assert boundary(500, (0.01, 0.01), 0.05) > 0.95
    assert boundary(300, (0.0, 0.0), 0.05) == 1.0


def test_equal_problems_are_equivalent_from_a_number_on_that_the_test_names() -> None:
    three = stats.tost([1, 0, 1], [1, 0, 1], margin=0.05)
    assert not three.equivalent and three.p > 0.8 and three.n_needed == 59
    assert not stats.tost(np.ones(57), np.ones(57), margin=0.05).equivalent
    assert stats.tost(np.ones(62), np.ones(62), margin=0.05).equivalent
    assert stats.fewest_problems(0.05) == 59 and 0.95**59 < 0.05 < 0.95**58


FACTORIALS = {  # bb, bt, tb, tt: chance that a cell is right, given how easy the problem is (0 to 1)
    "when": (0.2, 0.2, 0.995, 0.995),
    "how": (0.3, 0.995, 0.3, 0.995),
    "both": (0.2, 0.4, 0.5, 0.95),
    "neither": (0.5, 0.5, 0.5, 0.5),
    "perfect": (0.998, 1.0, 0.998, 1.0),
}


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("truth", FACTORIALS)
def test_effects_of_a_factorial_cover(truth: str, samples: int) -> None:
    """Main and simple effects, and shares; one random number decides most cells of a problem."""
    bb, bt, tb, tt = chances = np.array(FACTORIALS[truth])
    total, when, how = tt - bb, (tb - bb + tt - bt) / 2, (bt - bb + tt - tb) / 2
    expected = {"when": when, "how": how, "total": total, "interaction": tt - tb - bt + bb}
    expected |= {"when_given_base": tb - bb, "when_given_thinking": tt - bt}
    expected |= {"how_given_base": bt - bb, "how_given_thinking": tt - tb}
    if abs(total) > 1e-9:
        expected |= {"when_share": when / total, "how_share": how / total}
    hits, rng, replicates = dict.fromkeys(expected, 0), np.random.default_rng(23), 200
    for _ in range(replicates):
        luck = rng.random((100, samples, 1))
        swapped = rng.random((100, samples, 4)) < 0.1
        cells = np.where(swapped, rng.random((100, samples, 4)), luck) < chances
        effects = stats.factorial(
            **dict(zip(("bb", "bt", "tb", "tt"), np.moveaxis(cells, 2, 0), strict=True))
        )
        for name, value in expected.items():
            hits[name] += getattr(effects, name).covers(value)
    assert min(hits.values()) / replicates >= COVERS, hits


def test_a_share_of_no_gap_is_unbounded_and_effects_add_up() -> None:
    rng = np.random.default_rng(19)
    bb, bt, tb, tt = (rng.random(80) < p for p in (0.5, 0.5, 0.5, 0.5))
    effects = stats.factorial(bb=bb, bt=bt, tb=tb, tt=tt)
    assert effects.total.covers(0) and effects.when_share.unbounded and effects.how_share.unbounded
    assert effects.when.estimate + effects.how.estimate == pytest.approx(effects.total.estimate)
    pure = stats.factorial(bb=np.zeros(80), bt=np.zeros(80), tb=np.ones(80), tt=np.ones(80))
    assert pure.when_share.estimate == 1.0 and not pure.when_share.unbounded
    assert pure.how.low < 0 < pure.how.high, "no difference in 80 problems is not none at all"
