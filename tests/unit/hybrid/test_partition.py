"""Categories of the thinking model's stream: read where they are said to be, in training as in decoding."""

from __future__ import annotations

from functools import cache

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import ConfigError, DataError, MismatchError, UnknownNameError
from reasonmech.hybrid import (
    ControllerLog,
    DisagreementGate,
    Hybrid,
    OfPartition,
    OfThinking,
    PartedTexts,
    Partition,
    PartitionConfig,
    Takeover,
    VectorConfig,
    Vectors,
    fit_partition,
    partitions,
    train_vectors,
)
from reasonmech.hybrid.disagreements import clean_passes, find_disagreements
from reasonmech.organisms import load_pair
from reasonmech.rollout import Rollouts
from reasonmech.tasks import load_task, tasks

SMALL = PartitionConfig(n=4, site="resid_post.2", steps=30, batch_size=32)
DECODE = rm.Decode(max_new_tokens=80, batch_size=8)


@cache
def pair() -> rm.ModelPair:
    return load_pair("tiny-when")


@cache
def texts() -> Rollouts:
    problems = load_task("chain", n=12, seed=3, split="train")
    return rm.generate(pair().thinking, problems, decode=DECODE, progress=False)


@cache
def partition(kind: str) -> Partition:
    return fit_partition(pair().thinking, texts(), kind=kind, config=SMALL)


@torch.no_grad()
def category_after(parted: Partition, ids: tuple[int, ...]) -> int:
    """Of the thinking model's stream at the last token of a text, read alone and without a cache."""
    read: list[torch.Tensor] = []
    handle = pair().thinking.hook_point(SMALL.site).attach(read.append)
    pair().thinking.model(torch.tensor([ids]))
    handle.remove()
    return int(parted.categories(read[0][0, -1:])[0])


def vectors_for(parted: Partition) -> Vectors:
    n, draw = len(parted.names), torch.Generator().manual_seed(0)
    table = 8 * torch.randn(n, pair().base.d_model, generator=draw)
    return Vectors(pair().base, "resid_post.1", table=table, trained=torch.ones(n).bool())


def hybrid(parted: Partition, log: ControllerLog | None = None) -> Hybrid:
    selector = OfPartition(parted)
    return Hybrid(pair(), gate=DisagreementGate(), selector=selector, executor=vectors_for(parted), log=log)


@pytest.mark.parametrize("kind", partitions.kinds())
def test_categories_are_learnt_from_the_sentences_and_have_names(kind: str) -> None:
    parted = partition(kind)
    assert parted.names == (*(f"{kind}/{i}" for i in range(4)), "none")
    assert sum(parted.shares) == pytest.approx(1) and max(parted.shares) < 1
    categories = parted.categories(torch.randn(50, pair().thinking.d_model))
    assert set(categories.tolist()) <= set(range(5))
    assert fit_partition(pair().thinking, texts(), kind=kind, config=SMALL).digest == parted.digest


@pytest.mark.parametrize("kind", ["sentence_sae", "random"])
def test_a_training_has_the_category_before_each_disagreement(kind: str) -> None:
    parted, kinds = partition(kind), tasks.get("chain").kinds(pair().base.tokenizer)
    apart = find_disagreements(list(clean_passes(pair().base, texts())), texts(), kinds)
    labelled = PartedTexts(parted, pair().thinking, kinds).relabelled(apart, texts())
    assert torch.equal(labelled.position, apart.position) and labelled.rate == apart.rate
    for row in range(0, len(apart), 7):
        ids = texts()[int(apart.rollout[row])].all_ids[: int(apart.position[row]) + 1]
        assert int(labelled.category[row]) == category_after(parted, ids)
    assert len(set(labelled.category.tolist())) > 1


@pytest.mark.parametrize("draft", [1, 4])
def test_in_lockstep_the_category_is_that_of_the_text_so_far(draft: int) -> None:
    parted, log = partition("random"), ControllerLog()
    problems = load_task("chain", n=5, seed=8)
    written = rm.generate(hybrid(parted, log).drafting(draft), problems, decode=DECODE, progress=False)
    steered = [
        (r, t) for r in written for t, flag in enumerate(r.steered) if flag and not r.by_environment[t]
    ]
    assert len(steered) > 5
    for rollout, offset in steered:
        before = rollout.all_ids[: len(rollout.prompt_ids) + offset]
        assert log.at(rollout, offset).category == category_after(parted, before)
    assert len({log.at(*place).category for place in steered}) > 1


def test_vectors_are_learnt_for_its_categories() -> None:
    parted, kinds = partition("kmeans"), tasks.get("chain").kinds(pair().base.tokenizer)
    config = VectorConfig(steps=5, min_count=2, held_out=0.3)
    categories = PartedTexts(parted, pair().thinking, kinds)
    trained = train_vectors(
        pair().base, "resid_post.1", texts(), kinds=categories, config=config, progress=False
    )
    assert tuple(trained.counts) == parted.names
    assert trained.vectors.trained.tolist() == [n >= 2 for n in trained.counts.values()]
    with pytest.raises(DataError, match="its categories are no kinds"):
        train_vectors(
            pair().base,
            "resid_post.1",
            texts(),
            kinds=categories,
            config=config.model_copy(update={"by": "kind"}),
            progress=False,
        )


def test_what_does_not_fit_is_refused() -> None:
    other = load_pair("tiny-how")
    with pytest.raises(MismatchError, match="the partition was learnt on weights"):
        parted = OfPartition(partition("random"))
        mixed = Hybrid(other, gate=DisagreementGate(), selector=parted, executor=Takeover())
        rm.generate(mixed, load_task("chain", n=1, seed=0), progress=False)
    with pytest.raises(MismatchError, match="5 categories"):
        wrong = Hybrid(
            pair(),
            gate=DisagreementGate(),
            selector=OfThinking(),
            executor=vectors_for(partition("random")),
        )
        rm.generate(wrong, load_task("chain", n=1, seed=0), progress=False)
    with pytest.raises(UnknownNameError, match="sentence_sae"):
        fit_partition(pair().thinking, texts(), kind="sentences")
    with pytest.raises(ConfigError, match="resid_post"):
        PartitionConfig(site="mlp_out.1")
    with pytest.raises(DataError, match="sentences for 500 categories"):
        fit_partition(pair().thinking, texts(), kind="kmeans", config=PartitionConfig(n=500))
