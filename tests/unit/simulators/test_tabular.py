"""Tabular policies: the chain against every path written out, and draws against the chain."""

import numpy as np
import pytest

from reasonmech import simulators
from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.simulators import (
    KINDS,
    Hazards,
    Mixture,
    ReasonerWorld,
    Skills,
    TabularPolicy,
    accuracy,
    expectations,
    pass_at_k,
    simulate,
)
from reasonmech.simulators.chance import draw, row_keys
from tests.unit.simulators.paths import Enumerator
from tests.unit.simulators.policies import BASE, PAIR, RAMBLING, THINKING

SMALL = ReasonerWorld(items=(1, 2), slip=0.2, digits=3, max_sentences=12)
SHORT = ReasonerWorld(items=(2,), slip=0.2, digits=3, max_sentences=5)
WORLD = ReasonerWorld()
CELLS = {"bb": (0.0, 0.0), "bt": (0.0, 1.0), "tb": (1.0, 0.0), "tt": (1.0, 1.0)}


def accuracy_of_all_paths(shares: tuple[float, float], world: ReasonerWorld) -> float:
    onset, execution = (BASE.onset, THINKING.onset), (BASE.execution, THINKING.execution)
    return Enumerator(onset, execution, shares=shares, world=world).accuracy()


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_equals_all_its_paths(cell: str) -> None:
    assert PAIR.factorial(SMALL)._asdict()[cell] == pytest.approx(
        accuracy_of_all_paths(CELLS[cell], SMALL), abs=1e-10
    )


@pytest.mark.parametrize("shares", [(0.3, 0.0), (0.0, 0.6), (0.5, 0.25)])
def test_a_turned_dial_equals_all_its_paths(shares: tuple[float, float]) -> None:
    """Paths branch on whose turn it is, sentence by sentence; the chain mixes probabilities."""
    policy = PAIR.spliced(onset=shares[0], executor=shares[1])
    world = ReasonerWorld(items=(1,), slip=0.2, digits=3, max_sentences=6)
    assert accuracy(policy, world) == pytest.approx(accuracy_of_all_paths(shares, world), abs=1e-10)


def test_a_policy_that_hedges_and_is_cut_off_equals_all_its_paths() -> None:
    paths = Enumerator((RAMBLING.onset,) * 2, (RAMBLING.execution,) * 2, shares=(0.0, 0.0), world=SHORT)
    assert accuracy(RAMBLING, SHORT) == pytest.approx(paths.accuracy(), abs=1e-10)
    assert expectations(RAMBLING, SHORT).cut_off > 0.05
    assert expectations(BASE, WORLD).cut_off == 0.0


@pytest.mark.parametrize("cell", CELLS)
def test_spliced_draws_agree_with_all_paths_within_3_standard_errors(cell: str) -> None:
    onset, executor = CELLS[cell]
    rollouts = simulate(PAIR.spliced(onset=onset, executor=executor), SMALL, problems=40_000, seed=3).correct[
        :, 0
    ]
    truth = accuracy_of_all_paths((onset, executor), SMALL)
    assert abs(rollouts.mean() - truth) < 3 * np.sqrt(truth * (1 - truth) / len(rollouts))


@pytest.mark.parametrize("policy", [BASE, THINKING, RAMBLING, PAIR.spliced(onset=0.5, executor=0.5)])
def test_draws_agree_with_the_chain_in_every_count(policy: TabularPolicy) -> None:
    world = ReasonerWorld(max_sentences=24)
    rollouts, exact = simulate(policy, world, problems=20_000, seed=11), expectations(policy, world)
    values_by_name = {
        "accuracy": rollouts.correct,
        "cut_off": rollouts.cut_off,
        "sentences": rollouts.sentences,
    }
    pairs = [(values[:, 0], exact._asdict()[name]) for name, values in values_by_name.items()]
    for k, kind in enumerate(KINDS):
        pairs += [
            (rollouts.onsets[:, 0, k], exact.onsets[kind]),
            (rollouts.opportunities[:, 0, k], exact.opportunities[kind]),
        ]
    for values, truth in pairs:
        assert abs(values.mean() - truth) <= 3.5 * values.std() / np.sqrt(len(values)) + 1e-12  # 13 of them
    assert rollouts.onsets.sum() == rollouts.sentences.sum() > 0


def test_counted_hazards_and_skills_equal_those_of_the_policy() -> None:
    rollouts, kind = simulate(BASE, WORLD, problems=40_000, seed=5), {name: i for i, name in enumerate(KINDS)}
    for name in ("check", "backtrack", "step"):
        n, begun = (x[..., kind[name]].sum() for x in (rollouts.opportunities, rollouts.onsets))
        right = rollouts.executed[..., kind[name]].sum()
        skill = getattr(BASE.execution, name)
        assert abs(right / begun - skill) < 3 * np.sqrt(skill * (1 - skill) / begun)
        if name != "step":  # which competes with the check
            hazard = getattr(BASE.onset, name)
            assert abs(begun / n - hazard) < 3 * np.sqrt(hazard * (1 - hazard) / n)


def test_slips_are_the_same_in_every_cell() -> None:
    cells = [PAIR.spliced(onset=o, executor=e) for o, e in CELLS.values()]
    runs = [simulate(policy, WORLD, problems=300, samples=4, seed=2) for policy in cells]
    assert not np.array_equal(runs[0].correct, runs[3].correct)  # the arms do differ
    for run in runs[1:]:
        assert np.array_equal(run.slipped, runs[0].slipped)
        assert np.array_equal(run.items, runs[0].items)
    assert not np.array_equal(runs[0].slipped[:, 0], runs[0].slipped[:, 1])  # each sample slips by itself
    assert not np.array_equal(simulate(BASE, WORLD, problems=300, seed=9).slipped, runs[0].slipped[:, :1])
    possible = np.arange(5) < runs[0].items[:, None, None]
    rate = runs[0].slipped.sum() / np.broadcast_to(possible, runs[0].slipped.shape).sum()
    assert abs(rate - 0.15) < 3 * np.sqrt(0.15 * 0.85 / 4800)


def test_a_perfect_executor_is_wrong_exactly_where_the_environment_slips() -> None:
    policy = TabularPolicy(Hazards(step=1.0, check=0.0, backtrack=0.0), Skills())
    rollouts = simulate(policy, WORLD, problems=500, seed=1)
    assert 0 < rollouts.correct.mean() < 1
    assert np.array_equal(rollouts.correct[:, 0], ~rollouts.slipped[:, 0].any(axis=-1))
    thorough = TabularPolicy(Hazards(step=1.0, check=1.0, backtrack=1.0), Skills())
    assert simulate(thorough, WORLD, problems=500, seed=1).correct.all()


def test_more_problems_and_samples_change_none_of_the_others() -> None:
    small, large = (simulate(BASE, WORLD, problems=p, samples=s, seed=4) for p, s in ((50, 2), (90, 3)))
    assert np.array_equal(small.correct, large.correct[:50, :2])
    assert np.array_equal(small.onsets, large.onsets[:50, :2])


def test_keyed_chance_is_uniform_and_uncorrelated() -> None:
    first = draw(row_keys(0, "a", problems=400, samples=5)[..., None], np.arange(50))
    other = draw(row_keys(0, "b", problems=400, samples=5)[..., None], np.arange(50))
    counts = np.histogram(first, bins=20, range=(0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8  # chi-square with 19 degrees of freedom, p = 0.001
    pairs = [
        (first, other),
        (first[:-1], first[1:]),
        (first[:, 1:], first[:, :-1]),
        (first[..., 1:], first[..., :-1]),
    ]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)


def test_pass_at_k_agrees_with_draws() -> None:
    rollouts = simulate(BASE, WORLD, problems=20_000, samples=3, seed=8).correct.any(axis=1)
    truth = pass_at_k(BASE, WORLD, k=3)
    assert truth > accuracy(BASE, WORLD) + 0.1
    assert abs(rollouts.mean() - truth) < 3 * np.sqrt(truth * (1 - truth) / len(rollouts))
    assert pass_at_k(BASE, WORLD, k=1) == pytest.approx(accuracy(BASE, WORLD), abs=1e-12)


def test_when_is_zero_if_only_skills_changed_and_how_if_only_hazards() -> None:
    timing = simulators.TabularPair(BASE, TabularPolicy(THINKING.onset, BASE.execution)).factorial(WORLD)
    skill = simulators.TabularPair(BASE, TabularPolicy(BASE.onset, THINKING.execution)).factorial(WORLD)
    assert timing.when > 0.1 and timing.how == pytest.approx(0.0, abs=1e-12)
    assert skill.how > 0.03 and skill.when == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda: Hazards(step=1.2, check=0.0, backtrack=0.0), "step=1.2"),
        (lambda: Skills(check=-0.1), "check=-0.1"),
        (lambda: Mixture(BASE.onset, THINKING.onset, float("nan")), "share=nan"),
        (lambda: PAIR.spliced(onset=0.5, executor=2.0), "share=2.0"),
        (lambda: ReasonerWorld(slip=1.5), "slip=1.5"),
        (lambda: ReasonerWorld(items=()), "items"),
        (lambda: ReasonerWorld(digits=2), "digits"),
        (lambda: pass_at_k(BASE, WORLD, k=0), "pass@0"),
        (lambda: simulate(BASE, WORLD, problems=0), "0 problems"),
        (lambda: list(simulators.replicates(lambda seed: seed, n=0)), "0 replicates"),
    ],
)
def test_values_outside_their_range_raise(wrong: object, field: str) -> None:
    assert callable(wrong)
    with pytest.raises(DataError, match=field):
        wrong()


def test_an_unknown_factor_and_a_hazard_that_is_no_number_raise() -> None:
    with pytest.raises(UnknownNameError, match="unknown factor 'onsets'"):
        PAIR.dial(WORLD, shares=(0.0, 1.0), factor="onsets")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="check is the string 'often'"):
        Hazards(step=1.0, check="often", backtrack=0.0)  # pyright: ignore[reportArgumentType]


def test_replicates_have_different_and_reproducible_seeds() -> None:
    seeds = list(simulators.replicates(lambda seed: seed, n=50, seed=1, progress=False))
    assert len(set(seeds)) == 50
    assert seeds[:20] == list(simulators.replicates(lambda seed: seed, n=20, seed=1, progress=False))
    assert not set(seeds) & set(simulators.replicates(lambda seed: seed, n=50, seed=2, progress=False))
    share = simulators.share_of(
        lambda seed: np.random.default_rng(seed).random() < 0.3, n=400, progress=False
    )
    assert share.low < 0.3 < share.high < 0.5
