"""Category vectors out of a store: the numbers of a training in memory, batch by batch, after a kill too."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache

import reasonmech as rm
from reasonmech.errors import MismatchError, OutputError
from reasonmech.hybrid import OnDisk, TrainedVectors, VectorConfig, steering, train_draws, train_vectors
from reasonmech.hybrid.disagreements import TextBatch
from reasonmech.hybrid.stored_passes import StoredStream
from reasonmech.rollout import Rollouts
from reasonmech.runtime import capture
from reasonmech.testing import tiny_pair
from tests.unit.hybrid.test_kinds_of_any_task import DECODE, KINDS, PAIR, PROMPTS, SITE

CONFIG = VectorConfig(steps=24, min_count=1, batch_rollouts=3)
TOLERANCE = 1e-4  # of the largest entry; float32, whose sums are in another order in batches of other shapes


@pytest.fixture(scope="module")
def rollouts() -> Rollouts:
    return rm.generate(PAIR.thinking, PROMPTS, decode=DECODE, progress=False)


def train(site: str | OnDisk, texts: Rollouts, config: VectorConfig = CONFIG) -> TrainedVectors:
    return train_vectors(PAIR.base, site, texts, kinds=KINDS, config=config, progress=False)


@pytest.fixture(scope="module")
def in_memory(rollouts: Rollouts) -> TrainedVectors:
    return train(SITE, rollouts)


def assert_same(one: TrainedVectors, other: TrainedVectors) -> None:
    largest = one.vectors.table.abs().max()
    assert largest > 0.1, "something was learnt"
    torch.testing.assert_close(
        one.vectors.table, other.vectors.table, atol=float(TOLERANCE * largest), rtol=0
    )
    assert one[1:] == other[1:], "agreement, rate and counts"


def test_vectors_from_a_store_are_those_of_memory(
    rollouts: Rollouts, in_memory: TrainedVectors, tmp_path: Path
) -> None:
    assert_same(in_memory, train(OnDisk(SITE, tmp_path / "v"), rollouts))


@pytest.mark.parametrize(
    ("arch", "site"),
    [("gpt2", "resid_post.1"), ("gpt_neox", "mlp_out.1"), ("llama", "resid_pre.0"), ("qwen2", "resid_mid.2")],
)
def test_sites_and_blocks_of_every_kind(arch: str, site: str, tmp_path: Path) -> None:
    pair = tiny_pair(arch)
    texts = rm.generate(pair.thinking, PROMPTS, decode=DECODE, progress=False)
    config = CONFIG.model_copy(update={"steps": 4})
    trained = [
        train_vectors(pair.base, at, texts, kinds=KINDS, config=config, progress=False)
        for at in (site, OnDisk(site, tmp_path / "v"))
    ]
    difference = (trained[0].vectors.table - trained[1].vectors.table).abs().max()
    assert difference <= TOLERANCE * trained[0].vectors.table.abs().max()


def test_a_killed_training_goes_on_and_ends_where_it_would_have(
    rollouts: Rollouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(OnDisk(SITE, tmp_path / "whole"), rollouts)
    gradient, calls = steering.Steering.gradient, []

    def kill(self: steering.Steering, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return gradient(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(steering.Steering, "gradient", kill)
        with pytest.raises(KeyboardInterrupt):
            train(OnDisk(SITE, tmp_path / "v"), rollouts)
        calls.clear()
        calls += [1] * 20
        again = train(OnDisk(SITE, tmp_path / "v"), rollouts)
    assert len(calls) - 20 <= CONFIG.steps - 10, "steps before the last checkpoint are not run again"
    assert torch.equal(again.vectors.table, whole.vectors.table) and again[1:] == whole[1:]


def test_a_finished_training_is_read(
    rollouts: Rollouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(OnDisk(SITE, tmp_path / "v"), rollouts)
    monkeypatch.setattr(steering.Steering, "gradient", lambda *_: pytest.fail("it is trained again"))
    monkeypatch.setattr(TextBatch, "likeliest", lambda *_, **__: pytest.fail("texts are read again"))
    again = train(OnDisk(SITE, tmp_path / "v"), rollouts)
    assert torch.equal(again.vectors.table, first.vectors.table) and again[1:] == first[1:]


def test_one_cache_at_a_time_whatever_the_number_of_texts(
    rollouts: Rollouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, caches, most = TextBatch.run, [], []

    def count(self: TextBatch, host: rm.hosts.Host, cache: DynamicCache | None, known: Any = None) -> None:
        run(self, host, cache, known)
        if cache is not None:
            caches.append(weakref.ref(cache))
            gc.collect()
            most.append(sum(ref() is not None for ref in caches))

    monkeypatch.setattr(TextBatch, "run", count)
    gc.freeze()  # what was there before is not looked through at every collection
    try:
        train(OnDisk(SITE, tmp_path / "v"), rollouts, CONFIG.model_copy(update={"batch_rollouts": 1}))
    finally:
        gc.unfreeze()
    assert len(most) > len(rollouts) and max(most) <= 2, "one, and the one that is made after it"


def test_rows_in_parts_have_the_gradient_of_all(rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch) -> None:
    few = CONFIG.model_copy(update={"steps": 6})
    whole = train(SITE, rollouts, few)
    monkeypatch.setattr(steering, "ROW_BYTES", 1)
    assert_same(whole, train(SITE, rollouts, few))


def test_several_trainings_share_a_directory(rollouts: Rollouts, tmp_path: Path) -> None:
    configs = [CONFIG.model_copy(update={"steps": 4, "seed": seed}) for seed in (0, 1)]
    both = [
        train_draws(PAIR.base, site, rollouts, kinds=KINDS, configs=configs, progress=False)
        for site in (SITE, OnDisk(SITE, tmp_path / "v"))
    ]
    for memory, disk in zip(*both, strict=True):
        difference = (memory.vectors.table - disk.vectors.table).abs().max()
        assert difference <= TOLERANCE * memory.vectors.table.abs().max()


def test_a_directory_of_another_training_is_refused(rollouts: Rollouts, tmp_path: Path) -> None:
    at = OnDisk(SITE, tmp_path / "v")
    train(at, rollouts, CONFIG.model_copy(update={"steps": 1}))
    with pytest.raises(OutputError, match="other settings"):
        train(at, rollouts)
    fewer = Rollouts(list(rollouts)[:-1], task=rollouts.task)
    with pytest.raises(OutputError, match="other rollouts"):
        train(at, fewer, CONFIG.model_copy(update={"steps": 1}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        train(OnDisk(SITE, tmp_path / "mine"), rollouts)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"


def test_activations_of_other_texts_are_refused(rollouts: Rollouts) -> None:
    acts = capture(PAIR.base, list(rollouts)[:3], [SITE], progress=False)
    with pytest.raises(MismatchError, match="every token of these texts"):
        StoredStream(PAIR.base, acts, [len(r.all_ids) for r in rollouts], 1)
