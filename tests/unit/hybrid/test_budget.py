"""Budget curves: scores in closed form, rules that open at exactly their share, ends that are both models."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reasonmech as rm
from reasonmech.errors import DataError, ReasonmechError
from reasonmech.frames import groups
from reasonmech.hybrid import DisagreementGate, Hybrid, Ingredients, OfThinking, Takeover, hybrid_from_config
from reasonmech.hybrid.budget import (
    BudgetConfig,
    EntropyMatchedGate,
    OpeningRule,
    ScoreGate,
    fit_rules,
    measure_budget,
    scores,
)
from reasonmech.hybrid.budget.scores import RandomScore
from reasonmech.hybrid.budget.spending import Spending
from reasonmech.hybrid.executors import SecondChoice
from reasonmech.hybrid.parts import Moment
from reasonmech.tasks.chain import OneWordKinds, word_tokenizer
from reasonmech.tasks.chain.world import CHAIN
from tests.chain_models import random_pair

PAIR = random_pair()
KINDS = OneWordKinds(CHAIN.onset_words, PAIR.base.tokenizer)
TOKENIZER = word_tokenizer()
N = len(TOKENIZER)
DECODE = rm.Decode(max_new_tokens=16, batch_size=5)


def logits(rows: list[dict[str, float]]) -> torch.Tensor:
    p = torch.full((len(rows), N), 1e-12, dtype=torch.float64)
    for row, chances in enumerate(rows):
        for word, chance in chances.items():
            p[row, TOKENIZER.convert_tokens_to_ids(word)] = chance
    return p.log()


def moment(base: torch.Tensor, thinking: torch.Tensor, **changed: Any) -> Moment:
    n = len(base)
    no = torch.zeros(n, dtype=torch.bool)
    parts: dict[str, Any] = {
        "base_choice": base.argmax(-1), "thinking_choice": thinking.argmax(-1),
        "category": torch.zeros(n).long(), "base_alone_ends": no, "boundary": ~no,
        "keys": torch.arange(n) * 7919 + 13,
        "position": torch.full((n,), 9),
    }  # fmt: skip
    return Moment(base, thinking, **(parts | changed))


def score(kind: str, base: dict[str, float], thinking: dict[str, float], **changed) -> float:
    return float(scores.get(kind)(PAIR, KINDS).of(moment(logits([base]), logits([thinking]), **changed))[0])


def test_scores_are_what_they_say() -> None:
    base, thinking = {"next": 0.75, "check": 0.25}, {"next": 0.25, "check": 0.75}
    js = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    assert score("divergence", base, thinking) == pytest.approx(js, abs=1e-9)
    assert score("log_ratio", base, thinking) == pytest.approx(np.log(3), abs=1e-9)
    assert score("entropy", base, thinking) == pytest.approx(
        -0.75 * np.log(0.75) - 0.25 * np.log(0.25), abs=1e-6
    )
    assert score("kinds", base, thinking) == pytest.approx(js, abs=1e-6)
    assert score("kinds", base, thinking, boundary=torch.tensor([False])) == 0.0
    assert score("divergence", {"next": 1.0}, {"check": 1.0}) == pytest.approx(np.log(2), abs=1e-6)


def test_a_log_ratio_has_a_sign() -> None:
    """Where the thinking model is as unsure as it can be, its own token may be likelier in the base."""
    flat = {"next": 0.26, "check": 0.25, "so": 0.25, "wait": 0.24}
    assert score("log_ratio", {"check": 0.6, "next": 0.4}, flat) == pytest.approx(
        np.log(0.26 / 0.4), abs=1e-9
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.5001, 0.69]), min_size=1, max_size=60),
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True),
)
def test_rules_open_at_exactly_their_share_whatever_the_ties(values, shares) -> None:
    values, rising = np.array(values), sorted(shares)
    opened = []
    for share, (above, at) in zip(rising, fit_rules(values, rising), strict=True):
        assert 0 <= at <= 1
        chance = (values > above) + (values == above) * at
        assert chance.mean() == pytest.approx(share)
        opened.append(chance)
    for fewer, more in pairwise(opened):
        assert (fewer <= more + 1e-12).all()  # the same places first


def test_a_gate_opens_above_its_threshold_and_only_where_the_models_differ() -> None:
    base = logits([{"next": 0.9, "check": 0.1}] * 3)
    thinking = logits([{"check": 0.9, "next": 0.1}, {"check": 0.55, "next": 0.45}, {"next": 0.5, "so": 0.5}])
    at = moment(base, thinking)
    near, far = (float(scores.get("divergence")(PAIR, KINDS).of(at)[i]) for i in (1, 0))
    gate = ScoreGate(scores.get("divergence")(PAIR, KINDS), (OpeningRule((near + far) / 2),))
    assert gate.opens(at).tolist() == [True, False, False]
    everywhere = ScoreGate(scores.get("divergence")(PAIR, KINDS), (OpeningRule(-1.0),))
    assert everywhere.opens(at).tolist() == [True, True, False]
    alone = replace(at, base_alone_ends=torch.tensor([False, False, True]))
    assert everywhere.opens(alone).tolist() == [True, True, True]


def test_a_matched_gate_opens_as_often_in_every_decile_and_blindly_within() -> None:
    rng = np.random.default_rng(0)
    entropies = rng.uniform(0, 1, 20_000)
    values = (entropies > 0.5) * rng.random(20_000)  # the score is high where the entropy is
    rules = fit_rules(values, (0.2, 0.4))
    gate = EntropyMatchedGate.of(values, entropies, ScoreGate(RandomScore(), rules))
    assert gate.rates.mean(1).tolist() == pytest.approx([0.2, 0.4], abs=0.01)
    assert gate.rates[0, :4].max() == 0 and gate.rates[0, 5:].min() > 0.3
    a, b = logits([{"next": 0.5, "so": 0.5}] * 4000), logits([{"check": 1.0}] * 4000)
    sharp = logits([{"next": 0.999, "so": 0.001}] * 4000)
    assert gate.opens(moment(sharp, b)).float().mean() == 0.0
    assert gate.opens(moment(a, b)).float().mean() == pytest.approx(float(gate.rates[0, 6]), abs=0.04)
    assert gate.opens(moment(a, b)).tolist() != replace(gate, seed=1).opens(moment(a, b)).tolist()


def test_a_second_choice_is_never_the_first() -> None:
    problems = rm.load_task("chain", n=4, seed=0)
    hybrid = Hybrid(
        PAIR, gate=DisagreementGate(), selector=OfThinking(), executor=SecondChoice(), kinds=KINDS
    )
    texts = rm.generate(hybrid, problems, decode=DECODE, progress=False)
    steered = 0
    for rollout in texts:
        for t in range(len(rollout.ids)):
            if rollout.steered[t] and not rollout.by_environment[t]:
                ids = torch.tensor([[*rollout.prompt_ids, *rollout.ids[:t]]])
                top = PAIR.base.model(ids).logits[0, -1].topk(2).indices
                assert rollout.ids[t] == int(top[1])
                steered += 1
    assert steered > 3


def test_the_ends_of_every_curve_are_the_two_models() -> None:
    problems, tuning = rm.load_task("chain", n=4, seed=0), rm.load_task("chain", n=3, seed=0, split="tuning")
    decode = DECODE.model_copy(update={"max_new_tokens": 9})
    config = BudgetConfig(shares=(0.3, 0.6), draws=1)
    budget = measure_budget(PAIR, problems, tuning=tuning, config=config, decode=decode, progress=False)
    right = {
        writer: rm.tasks.grade(rm.generate(host, problems, decode=decode, progress=False)).mean()
        for writer, host in (("base", PAIR.base), ("thinking", PAIR.thinking))
    }
    whole = {writer: float(rows["tokens"].iloc[3]) for (writer,), rows in groups(budget.points, ["writer"])}
    other = {"base": "thinking", "thinking": "base"}
    for (writer, _, token), rows in groups(budget.points, ["writer", "ranking", "token"]):
        assert rows["share"].tolist() == [0.0, 0.3, 0.6, 1.0]
        assert rows["accuracy"].iloc[0] == right[writer] and rows["tokens"].iloc[0] == 0
        if token == "other model's":
            assert rows["accuracy"].iloc[-1] == right[other[writer]]
            assert rows["tokens"].iloc[-1] == whole[writer]
        else:
            assert (rows["bits"] >= 0).all()
    assert set(budget.points["ranking"]) == {*config.rankings, "random"}
    assert len(budget.sentences) == 2 and "second choice" in budget.sentences[0]
    assert "Budget(" in repr(budget) and "height" in budget._repr_html_()


def test_runs_of_many_rules_in_one_batch_equal_each_alone() -> None:
    problems = rm.load_task("chain", n=4, seed=0)
    spending = Spending(PAIR, KINDS, DECODE, progress=False)
    made = scores.get("divergence")(PAIR, KINDS)
    rules = (OpeningRule(0.4), OpeningRule(0.0))
    together = spending.spend(problems, ScoreGate(made, rules, len(problems)), Takeover(), runs=2)
    for rule, in_batch in zip(rules, together, strict=True):
        (alone,) = spending.spend(problems, ScoreGate(made, (rule,)), Takeover())
        np.testing.assert_array_equal(alone.tokens, in_batch.tokens)
        np.testing.assert_array_equal(alone.correct, in_batch.correct)
        assert (alone.percent, alone.length) == (in_batch.percent, in_batch.length)
        assert alone.bits == pytest.approx(in_batch.bits, rel=1e-5)
    assert together[0].tokens.sum() < together[1].tokens.sum()


def test_places_leave_out_what_the_environment_wrote() -> None:
    problems = rm.load_task("chain", n=6, seed=0)
    spending = Spending(PAIR, KINDS, rm.Decode(max_new_tokens=40), progress=False)
    places = spending.places(problems, {"divergence": scores.get("divergence")(PAIR, KINDS)}, Takeover())
    (whole,) = spending.spend(problems, DisagreementGate(), Takeover())
    never = ScoreGate(RandomScore(), (OpeningRule(2.0),))
    (none,) = spending.spend(problems, never, Takeover())
    assert none.tokens.sum() == 0 and whole.tokens.sum() > 0
    assert len(places.entropies) == len(places.values["divergence"]) >= whole.tokens.sum()


def test_a_gate_above_a_score_can_be_written_in_a_configuration() -> None:
    ingredients = Ingredients(PAIR, KINDS, None, clamp=None, rate=None)
    parts = {
        "gate": {"kind": "scored", "by": "divergence", "above": 0.3},
        "executor": {"kind": "second_choice"},
    }
    hybrid = hybrid_from_config(ingredients, parts)
    assert isinstance(hybrid.gate, ScoreGate) and hybrid.gate.rules == (OpeningRule(0.3),)
    assert isinstance(hybrid.executor, SecondChoice)
    with pytest.raises(ReasonmechError, match="divergence"):
        hybrid_from_config(ingredients, {"gate": {"kind": "scored", "by": "divergance", "above": 0.3}})


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"rankings": ["divergance"]}, "divergence"),
        ({"rankings": []}, "rankings"),
        ({"shares": [0.5, 0.2]}, "rising"),
        ({"shares": [0.0, 0.5]}, "shares"),
        ({"writers": ["both"]}, "writers"),
        ({"draws": 0}, "draws"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings_, message) -> None:
    with pytest.raises(ReasonmechError, match=message):
        BudgetConfig(**settings_)


def test_what_cannot_be_measured_is_said_before_anything_is_written() -> None:
    problems, tuning = rm.load_task("chain", n=3, seed=0), rm.load_task("chain", n=2, seed=0, split="tuning")
    with pytest.raises(DataError, match="in problems and in tuning"):
        measure_budget(PAIR, problems, tuning=problems, decode=DECODE, progress=False)
    with pytest.raises(DataError, match="1 problem"):
        measure_budget(PAIR, problems[:1], tuning=tuning, decode=DECODE, progress=False)
    same = rm.hosts.ModelPair("same", PAIR.base, PAIR.base, "chain")
    with pytest.raises(DataError, match="never disagree"):
        measure_budget(same, problems, tuning=tuning, decode=DECODE, progress=False)
