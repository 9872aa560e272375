"""Side effects: in closed form, equal to plain passes, and a bound that refuses what it says."""

from __future__ import annotations

import math

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.hybrid import (
    ControllerLog,
    DisagreementGate,
    Executor,
    Hybrid,
    NeutralTexts,
    OfThinking,
    Takeover,
    Vectors,
)
from reasonmech.hybrid.executors import SecondChoice
from reasonmech.hybrid.side_effects import damage, repetition, side_effects
from reasonmech.rollout import Rollout
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.tasks.chain.world import CHAIN
from tests.chain_models import random_pair

PAIR = random_pair()
KINDS = OneWordKinds(CHAIN.onset_words, PAIR.base.tokenizer)
N, SITE = len(KINDS.names), "resid_post.1"
TABLE = torch.randn(N, PAIR.base.d_model, generator=torch.Generator().manual_seed(0)) * 20
PROBLEMS = rm.load_task("chain", n=4, seed=0)
DECODE = rm.Decode(max_new_tokens=20)


def vectors(scale: float = 1.0, *, first: bool = True) -> Vectors:
    trained = torch.ones(N, dtype=torch.bool)
    trained[0] = first
    return Vectors(PAIR.base, SITE, table=TABLE * scale, trained=trained)


def write(executor: Executor) -> tuple[rm.Rollouts, ControllerLog]:
    log = ControllerLog()
    gate, selector = DisagreementGate(), OfThinking()
    hybrid = Hybrid(PAIR, gate=gate, selector=selector, executor=executor, kinds=KINDS, log=log)
    return rm.generate(hybrid, PROBLEMS, decode=DECODE, progress=False), log


def chosen(rollout: Rollout, *, steered: bool = False) -> list[int]:
    """Offsets of the tokens that a model chose, or of the steered ones among them."""
    free = [t for t, written in enumerate(rollout.by_environment) if not written]
    return [t for t in free if rollout.steered[t]] if steered else free


def test_repetition_counts_grams_that_stood_there_before() -> None:
    assert repetition([1, 2, 3]) == 0.0 and repetition([]) == 0.0
    assert repetition([1, 2, 3, 4, 5]) == 0.0
    assert repetition([7] * 8) == pytest.approx(4 / 5)
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)


@torch.no_grad()
def test_surprise_is_what_plain_passes_of_the_base_give() -> None:
    rollouts, log = write(Takeover())
    effects = side_effects(PAIR.base, rollouts, log)
    means = []
    for rollout in rollouts:
        ids = torch.tensor([[*rollout.prompt_ids, *rollout.ids]])
        log_probs = PAIR.base.model(ids).logits[0].log_softmax(-1)
        before = len(rollout.prompt_ids) - 1
        nats = [-float(log_probs[before + t, rollout.ids[t]]) for t in chosen(rollout)]
        means.append(sum(nats) / len(nats))
    assert effects.surprise == pytest.approx(sum(means) / len(means), rel=1e-4)
    assert effects.length == pytest.approx(sum(len(r.ids) for r in rollouts) / len(rollouts))
    assert effects.ended == pytest.approx(sum(r.stop == "eos" for r in rollouts) / len(rollouts))


def test_a_dose_is_spread_over_the_text_that_was_really_written() -> None:
    weak, strong = (side_effects(PAIR.base, *write(vectors(scale))) for scale in (0.05, 1.0))
    assert 0 < weak.dose_steered < strong.dose_steered
    rollouts, log = write(vectors())
    steered = [log.at(rollout, t).kl for rollout in rollouts for t in chosen(rollout, steered=True)]
    assert strong.dose == pytest.approx(sum(steered) / sum(r.n_chosen for r in rollouts))
    plain = rm.generate(PAIR.base, PROBLEMS, decode=DECODE, progress=False)
    unsteered = side_effects(PAIR.base, plain)
    assert unsteered.dose == 0 and math.isnan(unsteered.dose_steered)


@torch.no_grad()
def test_handing_over_a_token_has_the_dose_of_the_two_models() -> None:
    rollouts, log = write(Takeover())
    rollout = next(r for r in rollouts if chosen(r, steered=True))
    t = chosen(rollout, steered=True)[0]
    ids = torch.tensor([[*rollout.prompt_ids, *rollout.ids[:t]]])
    base, thinking = (h.model(ids).logits[0, -1].log_softmax(-1) for h in (PAIR.base, PAIR.thinking))
    assert log.at(rollout, t).kl == pytest.approx(float((thinking.exp() * (thinking - base)).sum()), rel=1e-3)
    again = ControllerLog.from_json(log.to_json())
    assert again.choices == log.choices


def test_damage_is_the_mean_over_categories_that_have_a_vector() -> None:
    written = rm.generate(PAIR.thinking, PROBLEMS, decode=DECODE, progress=False)
    texts = NeutralTexts.draw(PAIR.base, written, n=6)
    by_vector = texts.kl_of_vectors(TABLE, SITE)
    assert damage(vectors(), texts, N) == pytest.approx(float(by_vector.mean()), rel=1e-4)
    assert damage(vectors(first=False), texts, N) == pytest.approx(float(by_vector[1:].mean()), rel=1e-4)
    assert damage(vectors(0.0), texts, N) == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(damage(Takeover(), texts, N)) and math.isnan(damage(SecondChoice(), texts, N))


def test_no_text_has_no_side_effect() -> None:
    with pytest.raises(DataError, match="no text"):
        side_effects(PAIR.base, rm.Rollouts([]))
