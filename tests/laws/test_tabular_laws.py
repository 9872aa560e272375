"""Laws of tabular policies: probabilities, the ends of the dial, and what must not hurt."""

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from reasonmech.simulators import (
    KINDS,
    Hazards,
    Mixture,
    OnsetPolicy,
    ReasonerWorld,
    Skills,
    TabularPair,
    TabularPolicy,
    accuracy,
    expectations,
    pass_at_k,
    simulate,
    transitions,
)
from tests.unit.simulators.policies import hazards, policies, probability, skills

worlds = st.builds(
    ReasonerWorld,
    items=st.sampled_from([(1,), (2,), (1, 3)]),
    slip=probability,
    digits=st.integers(3, 10),
    max_sentences=st.integers(1, 12),
)
EXAMPLES = settings(max_examples=60, deadline=None)


@EXAMPLES
@given(st.one_of(hazards, st.builds(Mixture, hazards, hazards, probability)))
def test_decisions_are_probabilities(onset: OnsetPolicy) -> None:
    table = onset.table()
    assert (table >= -1e-15).all()
    np.testing.assert_allclose(table.sum(axis=-1), 1.0, atol=1e-12)
    assert (table[:, 0, KINDS.index("step")] == 0.0).all()  # no step where nothing is left


@EXAMPLES
@given(policies, worlds)
def test_transitions_are_probabilities(policy: TabularPolicy, world: ReasonerWorld) -> None:
    matrix = transitions(policy, world, items=2)
    assert (matrix >= -1e-15).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)


@EXAMPLES
@given(policies, policies, worlds)
def test_the_ends_of_the_dial_equal_the_cells(
    base: TabularPolicy, thinking: TabularPolicy, world: ReasonerWorld
) -> None:
    pair = TabularPair(base, thinking)
    cells = pair.factorial(world)
    assert cells.bb == pytest.approx(accuracy(base, world), abs=1e-12)
    assert cells.tt == pytest.approx(accuracy(thinking, world), abs=1e-12)
    assert cells.tb == pytest.approx(
        accuracy(TabularPolicy(thinking.onset, base.execution), world), abs=1e-12
    )
    assert cells.bt == pytest.approx(
        accuracy(TabularPolicy(base.onset, thinking.execution), world), abs=1e-12
    )
    assert pair.dial(world, shares=(0.0, 1.0)) == pytest.approx([cells.bb, cells.tb], abs=1e-12)
    assert pair.dial(world, shares=(0.0, 1.0), factor="executor") == pytest.approx(
        [cells.bb, cells.bt], abs=1e-12
    )
    assert pair.dial(world, shares=(0.0, 1.0), factor="both") == pytest.approx(
        [cells.bb, cells.tt], abs=1e-12
    )
    assert cells.when + cells.how == pytest.approx(cells.total, abs=1e-12)


@EXAMPLES
@given(policies, worlds)
def test_a_policy_against_itself_has_no_when_and_no_how(policy: TabularPolicy, world: ReasonerWorld) -> None:
    cells = TabularPair(policy, policy).factorial(world)
    assert cells.when == pytest.approx(0.0, abs=1e-12) and cells.how == pytest.approx(0.0, abs=1e-12)


@EXAMPLES
@given(st.data(), probability, st.sampled_from(["check", "backtrack"]))
def test_accuracy_rises_with_checks_and_backtracks_where_execution_is_perfect(
    data: st.DataObject, slip: float, kind: str
) -> None:
    world = ReasonerWorld(items=(1, 3), slip=slip)
    hazard = data.draw(hazards.map(lambda h: {"step": h.step, "check": h.check, "backtrack": h.backtrack}))
    low, high = sorted((hazard[kind], data.draw(probability)))
    scores = [
        accuracy(TabularPolicy(Hazards(**(hazard | {kind: value})), Skills(guess=0.0)), world)
        for value in (low, high)
    ]
    assert scores[0] <= scores[1] + 1e-12


@EXAMPLES
@given(hazards, skills, probability, st.sampled_from(["conclude", "guess"]))
def test_accuracy_rises_with_the_skill_of_answering(
    onset: Hazards, skill: Skills, other: float, name: str
) -> None:
    values = {key: getattr(skill, key) for key in ("step", "check", "backtrack", "conclude", "guess")}
    low, high = sorted((values[name], other))
    scores = [
        accuracy(TabularPolicy(onset, Skills(**(values | {name: v}))), ReasonerWorld(items=(2,)))
        for v in (low, high)
    ]
    assert scores[0] <= scores[1] + 1e-12


@EXAMPLES
@given(policies, worlds)
def test_pass_at_k_grows_with_k_and_begins_at_accuracy(policy: TabularPolicy, world: ReasonerWorld) -> None:
    curve = [pass_at_k(policy, world, k=k) for k in (1, 2, 4, 64)]
    assert curve[0] == pytest.approx(accuracy(policy, world), abs=1e-12)
    assert all(b >= a - 1e-12 for a, b in pairwise(curve))


@EXAMPLES
@given(policies, worlds, st.integers(0, 2**31))
def test_counts_of_a_draw_are_within_their_bounds(
    policy: TabularPolicy, world: ReasonerWorld, seed: int
) -> None:
    rollouts, exact = simulate(policy, world, problems=40, samples=2, seed=seed), expectations(policy, world)
    assert (rollouts.onsets <= rollouts.opportunities).all()
    assert (rollouts.executed <= rollouts.onsets).all()
    assert not (rollouts.correct & rollouts.cut_off).any()
    assert (rollouts.sentences <= world.max_sentences).all()
    assert (rollouts.onsets[..., KINDS.index("conclude")] == ~rollouts.cut_off).all()
    assert 0.0 <= exact.accuracy <= 1.0 - exact.cut_off + 1e-12
    for kind in KINDS:
        assert exact.onsets[kind] <= exact.opportunities[kind] + 1e-12
