"""An executor acts on the base that it was made for, with the kinds that it was made with, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import reasonmech as rm
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.errors import BindError, MismatchError
from reasonmech.hosts import Host, ModelPair
from reasonmech.hybrid import ClampFeatures, DisagreementGate, Hybrid, OfThinking, Vectors
from reasonmech.hybrid.draws import VectorDraws
from reasonmech.hybrid.parts import Executor
from reasonmech.kinds import Kinds
from reasonmech.organisms.training.pretrain import new_model
from reasonmech.tasks.chain import OneWordKinds, word_tokenizer
from reasonmech.tasks.chain.world import CHAIN
from reasonmech.testing import tiny_coder
from tests.chain_models import SMALL, random_pair

SITE = "resid_post.1"
KINDS = OneWordKinds(CHAIN.onset_words, word_tokenizer())
N = len(KINDS.names)
ALL = torch.ones(N, dtype=torch.bool)


def pair_of(seed: int, d_model: int = SMALL.d_model) -> ModelPair:
    if not seed:
        return random_pair()
    words = word_tokenizer()
    base, thinking = (Host(new_model(replace(SMALL, seed=seed, d_model=d_model)), words, name=name)
                      for name in ("base", "thinking"))  # fmt: skip
    return ModelPair("other", base, thinking, "chain")


def vectors(pair: ModelPair, n: int = N) -> Vectors:
    table = torch.randn(n, pair.base.d_model, generator=torch.Generator().manual_seed(0))
    return Vectors(pair.base, SITE, table=table, trained=torch.ones(n, dtype=torch.bool))


def clamped(pair: ModelPair, n: int = N) -> ClampFeatures:
    coder = tiny_coder(pair.base, SITE)
    return ClampFeatures(pair.base, coder, features={0: ((1,), (2.0,))}, n=n)


def drawn(pair: ModelPair, n: int = N) -> VectorDraws:
    made = vectors(pair, n)
    return VectorDraws(made, torch.stack([made.table, -made.table]), 1)


MAKERS = pytest.mark.parametrize("make", [vectors, clamped, drawn])


def write(pair: ModelPair, executor: Executor, kinds: Kinds = KINDS) -> object:
    hybrid = Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=executor, kinds=kinds)
    return rm.generate(hybrid, rm.load_task("chain", n=2), decode=rm.Decode(max_new_tokens=2), progress=False)


@MAKERS
def test_on_its_own_base_it_runs(make: Any) -> None:
    pair = pair_of(0)
    write(pair, make(pair))


@MAKERS
@pytest.mark.parametrize(
    "other", [{"seed": 5}, {"seed": 5, "d_model": 2 * SMALL.d_model}], ids=["weights", "width"]
)
def test_another_base_is_refused_before_a_token_is_written(make: Any, other: dict[str, int]) -> None:
    with pytest.raises(MismatchError, match=r"made for weights|reads .* dimensions"):
        write(pair_of(**other), make(pair_of(0)))


@MAKERS
def test_a_base_that_was_edited_is_refused(make: Any) -> None:
    pair = pair_of(0)
    executor = make(pair)
    pair.base.unembedding().data.mul_(2)
    with pytest.raises(MismatchError, match="made for weights"):
        write(pair, executor)


def test_clamping_follows_a_coder_that_is_edited() -> None:
    pair = pair_of(0)
    coder = tiny_coder(pair.base, SITE)
    executor = ClampFeatures(pair.base, coder, features={0: ((1,), (2.0,))}, n=N)
    before = executor._axis.rows
    assert isinstance(coder, SAELensCoder)
    coder.sae.W_dec.data.mul_(2)
    assert torch.equal(executor._axis.rows, 2 * before)
    write(pair, executor)


@MAKERS
def test_other_kinds_are_refused(make: Any) -> None:
    pair = pair_of(0)
    with pytest.raises(MismatchError, match=rf"of {N - 1} categories, the hybrid's kinds are {N}"):
        write(pair, make(pair, N - 1))


@pytest.mark.parametrize("shape", [(N, 16), (N - 1, SMALL.d_model), (SMALL.d_model,)])
def test_vectors_of_another_shape_than_the_stream_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BindError, match="category vectors of shape"):
        Vectors(pair_of(0).base, SITE, table=torch.ones(shape), trained=ALL)
