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
    Onset,
    Skills,
    TabularPair,
    TabularPolicy,
    World,
    accuracy,
    expected,
    pass_at_k,
    simulate,
    transitions,
)
from tests.unit.simulators.policies import hazards, policies, probability, skills

worlds = st.builds(
    World,
    items=st.sampled_from([(1,), (2,), (1, 3)]),
    slip=probability,
    digits=st.integers(3, 10),
    max_sentences=st.integers(1, 12),
)
EXAMPLES = settings(max_examples=60, deadline=None)


@EXAMPLES
@given(st.one_of(hazards, st.builds(Mixture, hazards, hazards, probability)))
def test_decisions_are_probabilities(onset: Onset) -> None:
    table = onset.table()
    assert (table >= -1e-15).all()
    np.testing.assert_allclose(table.sum(axis=-1), 1.0, atol=1e-12)
    assert (table[:, 0, KINDS.index("step")] == 0.0).all()  # no step where nothing is left


@EXAMPLES
@given(policies, worlds)
def test_transitions_are_probabilities(policy: TabularPolicy, world: World) -> None:
    matrix = transitions(policy, world, items=2)
    assert (matrix >= -1e-15).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)


@EXAMPLES
@given(policies, policies, worlds)
def test_the_ends_of_the_dial_are_the_cells(
    base: TabularPolicy, thinking: TabularPolicy, world: World
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
def test_a_policy_against_itself_is_no_pair(policy: TabularPolicy, world: World) -> None:
    cells = TabularPair(policy, policy).factorial(world)
    assert cells.when == pytest.approx(0.0, abs=1e-12) and cells.how == pytest.approx(0.0, abs=1e-12)


@EXAMPLES
@given(st.data(), probability, st.sampled_from(["check", "backtrack"]))
def test_when_execution_is_perfect_more_care_never_hurts(data: st.DataObject, slip: float, kind: str) -> None:
    world = World(items=(1, 3), slip=slip)
    given_ = data.draw(hazards.map(lambda h: {"step": h.step, "check": h.check, "backtrack": h.backtrack}))
    low, high = sorted((given_[kind], data.draw(probability)))
    scores = [
        accuracy(TabularPolicy(Hazards(**(given_ | {kind: value})), Skills(guess=0.0)), world)
        for value in (low, high)
    ]
    assert scores[0] <= scores[1] + 1e-12


@EXAMPLES
@given(hazards, skills, probability, st.sampled_from(["conclude", "guess"]))
def test_answering_better_never_hurts(onset: Hazards, skill: Skills, other: float, name: str) -> None:
    values = {key: getattr(skill, key) for key in ("step", "check", "backtrack", "conclude", "guess")}
    low, high = sorted((values[name], other))
    scores = [
        accuracy(TabularPolicy(onset, Skills(**(values | {name: v}))), World(items=(2,))) for v in (low, high)
    ]
    assert scores[0] <= scores[1] + 1e-12


@EXAMPLES
@given(policies, worlds)
def test_pass_at_k_grows_with_k_and_begins_at_accuracy(policy: TabularPolicy, world: World) -> None:
    curve = [pass_at_k(policy, world, k=k) for k in (1, 2, 4, 64)]
    assert curve[0] == pytest.approx(accuracy(policy, world), abs=1e-12)
    assert all(b >= a - 1e-12 for a, b in pairwise(curve))


@EXAMPLES
@given(policies, worlds, st.integers(0, 2**31))
def test_a_draw_does_only_what_it_may(policy: TabularPolicy, world: World, seed: int) -> None:
    drawn, exact = simulate(policy, world, problems=40, samples=2, seed=seed), expected(policy, world)
    assert (drawn.onsets <= drawn.opportunities).all()
    assert (drawn.executed <= drawn.onsets).all()
    assert not (drawn.correct & drawn.cut_off).any()
    assert (drawn.sentences <= world.max_sentences).all()
    assert (drawn.onsets[..., KINDS.index("conclude")] == ~drawn.cut_off).all()
    assert 0.0 <= exact.accuracy <= 1.0 - exact.cut_off + 1e-12
    for kind in KINDS:
        assert exact.onsets[kind] <= exact.opportunities[kind] + 1e-12
