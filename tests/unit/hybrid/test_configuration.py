"""A hybrid from a mapping is the hybrid built by hand; what does not exist is refused with what does."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import yaml

from reasonmech.errors import ArgumentError, ConfigError, DataError, ReasonmechError, UnknownNameError
from reasonmech.hybrid import (
    AtRandom,
    ClampFeatures,
    DisagreementGate,
    Hybrid,
    HybridConfig,
    Ingredients,
    OfThinking,
    Takeover,
    Vectors,
    WrongCategory,
    arms,
    gates,
    hybrid_from_config,
)
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.testing import tiny_coder, tiny_pair

PAIR = tiny_pair()
KINDS = OneWordKinds({"one": "w1", "two": "w2", "three": "w3"}, PAIR.base.tokenizer)
TABLE = torch.randn(len(KINDS.names), PAIR.base.d_model, generator=torch.Generator().manual_seed(0))
TRAINED = torch.tensor([True, True, False, False, False])
VECTORS = Vectors(PAIR.base, "resid_post.1", table=20 * TABLE, trained=TRAINED)
INGREDIENTS = Ingredients(PAIR, KINDS, VECTORS, clamp=None, rate=0.25, seed=7)  # type: ignore[arg-type]


def test_parts_that_are_not_named_are_those_of_the_full_arm() -> None:
    hybrid = hybrid_from_config(INGREDIENTS, {})
    assert (hybrid.gate, hybrid.selector) == (DisagreementGate(), OfThinking(seed=7))
    assert hybrid.executor is VECTORS and hybrid.kinds is KINDS and hybrid.pair is PAIR


def test_a_hybrid_written_in_yaml_writes_what_the_one_built_by_hand_writes() -> None:
    text = """
        gate: {kind: random, rate: 0.5, seed: 3}
        selector: {kind: thinking, among: [one, two]}
        executor: {kind: takeover}
    """
    parts = {"gate": AtRandom(0.5, 3), "selector": OfThinking((0, 1), 7), "executor": Takeover()}
    by_hand = Hybrid(PAIR, kinds=KINDS, **parts)  # type: ignore[arg-type]
    from_yaml = hybrid_from_config(INGREDIENTS, yaml.safe_load(text))
    decode = Decode(max_new_tokens=12)
    first, second, base = (
        generate(decoder, ["w1 w2", "w4 w5 w6"], decode=decode, progress=False)
        for decoder in (from_yaml, by_hand, PAIR.base)
    )
    assert [r.ids for r in first] != [r.ids for r in base]
    assert [(r.ids, r.steered) for r in first] == [(r.ids, r.steered) for r in second]


def test_settings_that_are_not_given_come_from_the_ingredients() -> None:
    hybrid = hybrid_from_config(INGREDIENTS, {"gate": {"kind": "random"}, "selector": {"kind": "random"}})
    assert hybrid.gate == AtRandom(0.25, seed=7)
    assert hybrid.selector == WrongCategory((0, 1), seed=7)
    null = hybrid_from_config(INGREDIENTS, {"executor": {"kind": "random_vectors", "seed": 2}}).executor
    assert isinstance(null, Vectors) and torch.equal(null.table, VECTORS.random(2).table)


@pytest.mark.parametrize(
    ("mapping", "error", "allowed"),
    [
        ([], ArgumentError, "executor: {kind: vectors}"),
        ({"gates": {"kind": "random"}}, UnknownNameError, "gate, selector, executor"),
        ({"gate": "random"}, ArgumentError, "{kind: boundaries}"),
        ({"gate": {"rate": 0.5}}, ConfigError, "kind: boundaries, disagree"),
        ({"gate": {"kind": "randm"}}, UnknownNameError, "disagree"),
        (
            {"executor": {"kind": "clam"}},
            UnknownNameError,
            "clamp, guarded, mean_difference, onset_bias, partition, random_vectors, second_choice",
        ),
        ({"gate": {"kind": "random", "rat": 0.5}}, UnknownNameError, "rate, seed"),
        ({"gate": {"kind": "random", "rate": "often"}}, ConfigError, "'matched'"),
    ],
)
def test_a_mapping_that_is_no_hybrid_is_refused_before_there_is_a_pair(
    mapping: dict[str, object], error: type[ReasonmechError], allowed: str
) -> None:
    with pytest.raises(error) as raised:
        HybridConfig.from_mapping(mapping)
    assert allowed in raised.value.allowed


def test_categories_and_rates_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="category 'four'") as raised:
        hybrid_from_config(INGREDIENTS, {"selector": {"kind": "thinking", "among": ["four"]}})
    assert "one, two, three" in raised.value.allowed
    with pytest.raises(DataError, match="wrong one"):
        hybrid_from_config(INGREDIENTS, {"selector": {"kind": "random", "among": ["one"]}})
    with pytest.raises(DataError, match=r"1\.5"):
        hybrid_from_config(INGREDIENTS, {"gate": {"kind": "random", "rate": 1.5}})


def test_a_registered_class_has_its_own_parameters_as_settings() -> None:
    @gates.register("where the thinking model is sure")
    @dataclass(frozen=True)
    class Sure:
        p: float

        def opens(self, moment):
            return (moment.thinking.softmax(-1).amax(-1) > self.p).cpu()

    kind = "where the thinking model is sure"
    assert hybrid_from_config(INGREDIENTS, {"gate": {"kind": kind, "p": 0.9}}).gate == Sure(0.9)
    with pytest.raises(ConfigError, match="lacks p"):
        HybridConfig.from_mapping({"gate": {"kind": kind}})


def test_arms_are_the_mappings_that_they_stand_for() -> None:
    random_positions = arms.get("random_positions").decoder(INGREDIENTS)
    assert isinstance(random_positions, Hybrid)
    assert random_positions.gate == AtRandom(0.25, 7) and random_positions.selector == OfThinking((0, 1), 7)
    takeover = arms.get("takeover").decoder(INGREDIENTS)
    assert isinstance(takeover, Hybrid) and isinstance(takeover.executor, Takeover)


@pytest.mark.parametrize("gate", [DisagreementGate(), AtRandom(1.0), AtRandom(0.5)])
def test_clamps_act_where_a_sentence_begins_whatever_the_gate(gate: DisagreementGate | AtRandom) -> None:
    coder, n = tiny_coder(PAIR.base), len(KINDS.names)
    clamp = ClampFeatures(PAIR.base, coder, features={i: ((0, 1), (9.0, 9.0)) for i in range(n)}, n=n)
    parts = {"gate": gate, "selector": OfThinking((0, 1, 2)), "kinds": KINDS}
    hybrid, takeover = (Hybrid(PAIR, executor=executor, **parts) for executor in (clamp, Takeover()))  # type: ignore[arg-type]
    decode, texts = Decode(max_new_tokens=24), [f"w{i} w{i + 1}" for i in range(12)]
    steered = 0
    for rollout in generate(hybrid, texts, decode=decode, progress=False):
        tracker = KINDS.track(1)
        for token, fired in zip(rollout.ids, rollout.steered, strict=True):
            assert not fired or bool(tracker.boundary[0])
            steered += fired
            tracker.advance(torch.tensor([token]))
    assert steered
    inside = 0  # the same gate opens inside sentences, for what may act there
    for rollout in generate(takeover, texts, decode=decode, progress=False):
        tracker = KINDS.track(1)
        for token, fired in zip(rollout.ids, rollout.steered, strict=True):
            inside += fired and not bool(tracker.boundary[0])
            tracker.advance(torch.tensor([token]))
    assert inside
