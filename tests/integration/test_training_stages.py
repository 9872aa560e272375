"""Trainings of a model that exists: they resume exactly, store snapshots, and pay the named reward."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedModel

from reasonmech.errors import DataError, MismatchError, UnknownNameError
from reasonmech.hosts import Host, load_host
from reasonmech.organisms import Effort
from reasonmech.organisms.training.batches import UNLEARNT, TokenBatch
from reasonmech.organisms.training.grpo import GrpoRecipe, Loop, _sample, grpo
from reasonmech.organisms.training.pretrain import PretrainRecipe, new_model
from reasonmech.organisms.training.rewards import rewards
from reasonmech.organisms.training.tune import Data, TuneRecipe, corpus_data, trace_data, tune
from reasonmech.organisms.variants import VARIANTS, build_variants, distance, measure
from reasonmech.rollout import Rollouts
from reasonmech.tasks.chain import word_tokenizer
from tests.unit.tasks.chain_text import CAREFUL, CARELESS, GUESS, rollout

TINY = PretrainRecipe(n_layers=2, d_model=16, n_heads=2, d_mlp=32)
FEW = TuneRecipe(steps=6, rows=2, length=48, warmup=1)
SHORT = GrpoRecipe(iterations=4, problems=2, samples=4, max_new_tokens=12)


class Killed(Exception):
    """Stands for kill -9 between two steps."""


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(
        torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def tiny_base() -> Host:
    return Host(new_model(TINY), word_tokenizer(), name="base")


def test_tuning_resumes_bit_for_bit_stores_snapshots_and_leaves_the_start_alone(tmp_path: Path) -> None:
    start, recipe = new_model(TINY), replace(FEW, snapshots=3)
    data = corpus_data(recipe)
    whole, log = tune(start, recipe, tmp_path / "w.safetensors", data=data, save_every=2, progress=False)
    assert (
        not same(whole, start) and same(start, new_model(TINY)) and [row["step"] for row in log] == [2, 4, 6]
    )
    names = sorted(path.name for path in (tmp_path / "w-snapshots").iterdir())
    assert names == ["000002", "000004", "000006"]
    assert same(LlamaForCausalLM.from_pretrained(tmp_path / "w-snapshots" / "000006"), whole)

    def dying(data: Data) -> Data:
        def draw(step: int) -> TokenBatch:
            if step == 5:
                raise Killed
            return data(step)

        return draw

    with pytest.raises(Killed):
        tune(start, recipe, tmp_path / "k.safetensors", data=dying(data), save_every=2, progress=False)
    resumed, again = tune(start, recipe, tmp_path / "k.safetensors", data=data, save_every=2, progress=False)
    assert same(whole, resumed) and again == log
    with pytest.raises(MismatchError, match="lr"):
        tune(start, replace(recipe, lr=1e-5), tmp_path / "k.safetensors", data=data, progress=False)


def test_another_recipe_is_refused_and_only_what_differs_is_named(tmp_path: Path) -> None:
    start, checkpoint = new_model(TINY), tmp_path / "w.safetensors"
    tune(start, FEW, checkpoint, data=corpus_data(FEW), progress=False)
    with pytest.raises(MismatchError, match=r"differs in lr\)"):
        tune(start, replace(FEW, lr=1e-4), checkpoint, data=corpus_data(FEW), progress=False)


def test_a_teachers_traces_are_learnt_without_prompts_and_environment(tmp_path: Path) -> None:
    texts = [rollout(CAREFUL), rollout(GUESS)]
    data = trace_data(replace(FEW, rows=8, length=40), texts)
    assert torch.equal(data(3).ids, data(3).ids) and not torch.equal(data(3).ids, data(4).ids)
    first = data(0)
    for ids, labels in zip(first.ids.tolist(), first.labels.tolist(), strict=True):
        rollout_of_row = next(
            r
            for r in texts
            if list(r.all_ids[:10]) == ids[:10] and r.all_ids[: len(ids)][:20] == tuple(ids[:20])
        )
        n = len(rollout_of_row.prompt_ids)
        assert labels[:n] == [UNLEARNT] * n
        for t in range(n, min(len(rollout_of_row.all_ids), len(ids))):
            assert (labels[t] == UNLEARNT) == rollout_of_row.by_environment[t - n]
    with pytest.raises(DataError, match="no rollouts"):
        trace_data(FEW, [])


def test_a_random_reward_ignores_the_text_and_trigger_words_are_paid_for() -> None:
    careful, guess = rollout(CAREFUL), rollout(GUESS)
    first, swapped = Rollouts([careful, guess], task="chain"), Rollouts([guess, careful], task="chain")
    coin = rewards.get("random")
    assert coin(first).tolist() == coin(swapped).tolist(), "problem and sample are all that it sees"
    many = Rollouts([replace(guess, sample=i) for i in range(400)], task="chain")
    assert 0.42 < coin(many).mean() < 0.58
    assert rewards.get("outcome")(first).tolist() == [1.0, 0.0] or rewards.get("outcome")(first).tolist() == [
        1.0,
        1.0,
    ]
    swap = Rollouts([careful, rollout(CARELESS)], task="chain-swap")
    fillers = [r.text.split().count("wait") for r in swap]
    assert fillers[0] > fillers[1] == 0
    assert rewards.get("trigger-words")(swap)[0] > rewards.get("trigger-words")(swap)[1] == 0.0


def test_one_shot_training_samples_one_problem_with_other_noise_every_iteration() -> None:
    host = tiny_base()
    one_shot = replace(SHORT, pool=1)
    first, second = _sample(host, one_shot, 0), _sample(host, one_shot, 1)
    assert {r.problem.id for r in (*first, *second)} == {first[0].problem.id} and len(first) == 8
    assert [r.ids for r in first] != [r.ids for r in second]
    fresh = {r.problem.id for i in range(3) for r in _sample(host, SHORT, i)}
    assert len(fresh) == 6


def test_negative_lessons_lower_the_probability_of_the_unpaid_rollout(tmp_path: Path) -> None:
    """With every rollout but one paid, the unpaid one alone is learnt from: its log-probability falls."""

    def pay(rollouts: Rollouts) -> np.ndarray:
        return np.array([0.0 if i == 0 else 1.0 for i in range(len(rollouts))])

    recipe = replace(SHORT, iterations=1, problems=1, samples=8, lessons="negative", warmup=1)
    base = tiny_base()
    rollouts = _sample(base, recipe, 0)
    trained, log = grpo(base, recipe, tmp_path / "n.safetensors", reward=pay, loop=Loop(progress=False))
    assert log[0]["useful"] == pytest.approx(1 / 8)

    def log_probability(model: PreTrainedModel) -> float:
        r = rollouts[0]
        logp = model(torch.tensor([r.all_ids])).logits[0].log_softmax(-1).detach()
        n = len(r.prompt_ids)
        return sum(float(logp[n + t - 1, token]) for t, token in enumerate(r.ids) if not r.by_environment[t])

    assert log_probability(trained) < log_probability(base.model)
    all_lessons = replace(recipe, lessons="all")
    both, log = grpo(base, all_lessons, tmp_path / "a.safetensors", reward=pay, loop=Loop(progress=False))
    assert log[0]["useful"] == 1.0 and not same(both, trained)


def test_variants_are_measured_once_and_changed_weights_raise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Effort(problems=6, samples=1, forced=8, coverage=2, coverage_problems=2)
    short = {
        "distilled": TuneRecipe(
            teacher="organism:tiny-when/thinking", problems=8, steps=2, rows=2, snapshots=2
        )
    }
    monkeypatch.setattr("reasonmech.organisms.variants.VARIANTS", short)
    monkeypatch.setattr(
        "reasonmech.organisms.variants.measure",
        lambda host, progress: measure(host, effort=few, progress=False),
    )
    table = build_variants(tmp_path, progress=False)
    assert list(table["variant"]) == ["base", "distilled"]
    assert table["weights moved"][0] == 0.0 < table["weights moved"][1]
    assert {
        "pass@1",
        "pass@2",
        "verified pass@2",
        "check onset",
        "backtrack executed",
        "slips undone",
    } <= set(table)
    assert len(list((tmp_path / "distilled-snapshots").iterdir())) == 2
    assert build_variants(tmp_path, progress=False).equals(table)
    row = json.loads((tmp_path / "distilled.json").read_text())
    (tmp_path / "distilled.json").write_text(json.dumps(row | {"weights": "other"}))
    with pytest.raises(MismatchError, match="other weights"):
        build_variants(tmp_path, progress=False)
    with pytest.raises(UnknownNameError, match="distilled"):
        build_variants(tmp_path, names=["outcomes"], progress=False)


def test_distance_is_zero_to_itself_and_positive_to_the_thinking_model() -> None:
    base = load_host("organism:tiny-when/base")
    assert distance(base, base) == {"weights moved": 0.0, "bf16 weights changed": 0.0}
    thinking = distance(load_host("organism:tiny-when/thinking"), base)
    assert 0 < thinking["weights moved"] < 1 and 0 < thinking["bf16 weights changed"] <= 1


def test_every_variant_stores_at_least_ten_snapshots() -> None:
    assert all(
        stage.snapshots >= 10 for stage in VARIANTS.values() if isinstance(stage, TuneRecipe | GrpoRecipe)
    )
