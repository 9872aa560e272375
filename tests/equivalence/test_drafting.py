"""Draft and verify: whatever is drafted, what is written and steered is that of the step-by-step loop."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reasonmech as rm
from reasonmech.errors import ArgumentError
from reasonmech.hosts import ModelPair, load_host
from reasonmech.hosts.words import onset_tokens
from reasonmech.hybrid import AtRandom, ControllerLog, DisagreementGate, Hybrid, OfThinking, Takeover, Vectors
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.tasks import load_task, tasks
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.testing import move_matrices
from tests.chain_models import random_pair
from tests.layouts import layout_host

SITE = "resid_post.1"


def sibling_of(pair: ModelPair, change: float) -> ModelPair:
    """A pair whose thinking model is the base, moved a little: they disagree now and then."""
    model = copy.deepcopy(pair.base.model)
    move_matrices(model, change, torch.Generator().manual_seed(1))
    thinking = load_host(model, tokenizer=pair.base.tokenizer, name="sibling")
    return ModelPair(name="siblings", base=pair.base, thinking=thinking, task="chain")


PAIRS = {"strangers": random_pair(), "siblings": sibling_of(random_pair(), 0.05)}
PROBLEMS = load_task("chain", n=5, seed=0)


def vectors_of(pair: ModelPair) -> Vectors:
    n = len(tasks.get("chain").kinds(pair.base.tokenizer).names)
    table = torch.randn(n, pair.base.d_model, generator=torch.Generator().manual_seed(0)) * 20
    return Vectors(pair.base, SITE, table=table, trained=torch.arange(n) != 1)


EXECUTORS = {name: {"vectors": vectors_of(pair), "takeover": Takeover()} for name, pair in PAIRS.items()}
GATES = {
    "disagree": DisagreementGate(),
    "boundaries": DisagreementGate(boundaries=True),
    "random": AtRandom(0.2),
}


def written(hybrid: Hybrid, problems: ProblemSet | Sequence[str], decode: Decode) -> Rollouts:
    return rm.generate(hybrid, problems, decode=decode, progress=False, receipt="none")


def check_equal(drafted: Rollouts, stepped: Rollouts) -> None:
    for one, other in zip(drafted, stepped, strict=True):
        assert (one.ids, one.steered, one.by_environment) == (other.ids, other.steered, other.by_environment)
        assert (one.stop, one.text) == (other.stop, other.text)


@settings(max_examples=10, deadline=None)
@given(
    whose=st.sampled_from(sorted(PAIRS)),
    executor=st.sampled_from(["vectors", "takeover"]),
    gate=st.sampled_from(sorted(GATES)),
    draft=st.integers(2, 7),
    decode=st.builds(
        Decode,
        max_new_tokens=st.integers(1, 20),
        batch_size=st.sampled_from([1, 2, 4, 10]),
        temperature=st.sampled_from([0.0, 1.0]),
        samples=st.sampled_from([1, 2]),
    ),
    environment=st.booleans(),
)
def test_a_draft_changes_no_token(
    whose: str, executor: str, gate: str, draft: int, decode: Decode, environment: bool
) -> None:
    """With an environment too, which writes other tokens than those that were drafted."""
    parts = {"gate": GATES[gate], "selector": OfThinking(), "executor": EXECUTORS[whose][executor]}
    problems = PROBLEMS if environment else ProblemSet(list(PROBLEMS), task="chain")
    stepped = written(Hybrid(PAIRS[whose], **parts), problems, decode)
    check_equal(written(Hybrid(PAIRS[whose], **parts).drafting(draft), problems, decode), stepped)


def test_the_log_of_drafts_says_what_the_log_of_steps_says() -> None:
    pair, logs = PAIRS["siblings"], (ControllerLog(), ControllerLog())
    decode = Decode(max_new_tokens=30, batch_size=3)
    parts = {
        "gate": DisagreementGate(),
        "selector": OfThinking(),
        "executor": EXECUTORS["siblings"]["vectors"],
    }
    rollouts = [
        written(Hybrid(pair, **parts, log=log).drafting(draft), PROBLEMS, decode)
        for log, draft in zip(logs, (1, 4), strict=True)
    ]
    check_equal(*rollouts)
    n_compared = 0
    for rollout in rollouts[0]:
        for offset, steered in enumerate(rollout.steered):
            if steered:
                one, other = (log.at(rollout, offset) for log in logs)
                assert one.category == other.category
                assert one.token_bits == pytest.approx(other.token_bits, abs=1e-4)
                n_compared += 1
    assert n_compared > 3


@pytest.mark.parametrize("layout", ["llama2", "qwen2", "gemma"])
def test_drafts_on_other_layouts(layout: str) -> None:
    """Texts of several lengths, other tokenizers and architectures, no task."""
    base = layout_host(layout)
    pair = sibling_of(ModelPair(name=layout, base=base, thinking=base), 0.05)
    words = ("check", "step", "next", "is", "and", "of", "a", "to", "in", "x")
    word = next(word for word in words if onset_tokens(base.tokenizer, word))
    kinds = OneWordKinds({"a": word}, base.tokenizer)
    table = torch.randn(len(kinds.names), base.d_model, generator=torch.Generator().manual_seed(0)) * 9
    vectors = Vectors(base, SITE, table=table, trained=torch.ones(len(kinds.names)).bool())
    parts = {"gate": DisagreementGate(), "selector": OfThinking(), "executor": vectors, "kinds": kinds}
    prompts = ["the 1 and 2", "a", "what is it, and what is it not? the 🙂"]
    decode = Decode(max_new_tokens=24, temperature=1.0, samples=2)
    stepped = written(Hybrid(pair, **parts), prompts, decode)
    assert any(any(rollout.steered) for rollout in stepped)
    check_equal(written(Hybrid(pair, **parts).drafting(4), prompts, decode), stepped)


@pytest.mark.parametrize("draft", [0, -1, True, 2.0, "4"])
def test_a_draft_is_a_number_of_tokens(draft: object) -> None:
    parts = {"gate": DisagreementGate(), "selector": OfThinking(), "executor": Takeover()}
    with pytest.raises(ArgumentError, match="draft"):
        Hybrid(PAIRS["siblings"], **parts).drafting(draft)  # pyright: ignore[reportArgumentType]
