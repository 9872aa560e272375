"""Training is seeded and resumes exactly; GRPO equals a plain reference; a build is complete or absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from reasonmech.errors import CorruptFileError, DataError, MismatchError, OutputError
from reasonmech.hosts import Host
from reasonmech.organisms.building import build
from reasonmech.organisms.recipes import ModelRecipe, recipes
from reasonmech.organisms.training.batches import UNLEARNT, BatchShape, Mix, TokenBatch, draw_batch
from reasonmech.organisms.training.corpus import IDS, Modes
from reasonmech.organisms.training.grpo import (
    GrpoRecipe,
    Loop,
    _check_collapse,
    advantages,
    grpo,
)
from reasonmech.organisms.training.policy_batch import pad_batch, policy_loss, split_batches
from reasonmech.organisms.training.pretrain import PretrainRecipe, new_model, pretrain
from reasonmech.organisms.training.skills import SkillProbe, check_base, probe_skills
from reasonmech.rollout import Rollouts
from reasonmech.tasks.chain import word_tokenizer
from tests.unit.tasks.chain_text import CAREFUL, GUESS, rollout

TINY = PretrainRecipe(steps=6, rows=2, length=64, n_layers=2, d_model=16, n_heads=2, d_mlp=32)
FEW = GrpoRecipe(iterations=4, problems=2, samples=4, max_new_tokens=12)


class Killed(Exception):
    """Stands for kill -9 between two steps."""


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(
        torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def tiny_base() -> Host:
    return Host(new_model(TINY), word_tokenizer(), name="base")


def test_a_batch_is_a_function_of_seed_and_step_and_leaves_slips_unlearnt() -> None:
    def make(seed: int, step: int) -> TokenBatch:
        return draw_batch(seed, step, modes=Modes(), mix=Mix(0.3), shape=BatchShape(8, 64))

    assert torch.equal(make(0, 3).ids, make(0, 3).ids)
    assert not torch.equal(make(0, 3).ids, make(0, 4).ids) and not torch.equal(make(0, 3).ids, make(1, 3).ids)
    learnt = make(0, 3).labels != UNLEARNT
    assert torch.equal(make(0, 3).labels[learnt], make(0, 3).ids[learnt])
    digits = {IDS[d] for d in "0123456789"}
    assert {int(i) for i in make(0, 3).ids[~learnt]} <= digits, "only slipped digits are left out"


def test_pretraining_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole, log = pretrain(TINY, tmp_path / "whole.safetensors", save_every=2, progress=False)
    assert not same(whole, new_model(TINY)) and [row["step"] for row in log] == [2, 4, 6]

    def kill(model: PreTrainedModel) -> dict[str, float]:
        if (tmp_path / "killed.safetensors").exists():
            raise Killed
        return {}

    with pytest.raises(Killed):
        pretrain(TINY, tmp_path / "killed.safetensors", save_every=2, probe=SkillProbe(kill), progress=False)
    resumed, resumed_log = pretrain(TINY, tmp_path / "killed.safetensors", save_every=2, progress=False)
    assert same(whole, resumed) and [row["step"] for row in resumed_log] == [2, 4, 6]
    again, _ = pretrain(TINY, tmp_path / "killed.safetensors", progress=False)
    assert same(whole, again), "a finished checkpoint is only read"


def test_extra_rounds_follow_while_a_skill_is_missing(tmp_path: Path) -> None:
    recipe = replace(TINY, steps=2, extra=2, rounds=2, warmup=1)
    steps: list[int] = []

    def is_ready(skills: dict[str, float]) -> bool:
        steps.append(int(skills["step"]))
        return skills["step"] >= 4

    late = SkillProbe(lambda _: {}, is_ready=is_ready)
    never = SkillProbe(lambda _: {}, is_ready=lambda _: False)
    _, log = pretrain(recipe, tmp_path / "e.safetensors", probe=late, save_every=9, progress=False)
    assert [row["step"] for row in log] == [2, 4] and steps == [2, 4]
    _, log = pretrain(recipe, tmp_path / "n.safetensors", probe=never, save_every=9, progress=False)
    assert [row["step"] for row in log] == [2, 4, 6], "and end after the last"
    _, log = pretrain(recipe, tmp_path / "o.safetensors", save_every=9, progress=False)
    assert [row["step"] for row in log] == [2], "none without a probe"
    assert recipe.learning_rate(2) == pytest.approx(recipe.lr / 2)


def test_a_checkpoint_of_another_recipe_or_a_truncated_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    pretrain(replace(TINY, steps=1), path, progress=False)
    with pytest.raises(MismatchError, match="lr"):
        pretrain(replace(TINY, steps=1, lr=1e-4), path, progress=False)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptFileError, match="starts afresh"):
        pretrain(replace(TINY, steps=1), path, progress=False)


def parity(rollouts: Rollouts) -> np.ndarray:
    """A reward that every random model sometimes earns."""
    return np.array([sum(r.ids) % 2 for r in rollouts])


def test_grpo_resumes_bit_for_bit_and_leaves_the_base_alone(tmp_path: Path) -> None:
    base = tiny_base()
    untouched = new_model(TINY)
    whole, log = grpo(
        base, FEW, tmp_path / "w.safetensors", reward=parity, loop=Loop(save_every=2, progress=False)
    )
    assert not same(whole, base.model) and same(base.model, untouched) and len(log) == 4
    calls = 0

    def kill(rollouts: Rollouts) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Killed
        return parity(rollouts)

    with pytest.raises(Killed):
        grpo(base, FEW, tmp_path / "k.safetensors", reward=kill, loop=Loop(save_every=2, progress=False))
    resumed, resumed_log = grpo(
        base, FEW, tmp_path / "k.safetensors", reward=parity, loop=Loop(progress=False)
    )
    assert same(whole, resumed) and resumed_log == log


def test_grpo_reaches_the_optimum_of_a_bandit(tmp_path: Path) -> None:
    """One decision, one arm in eight pays: the policy must end up pulling it."""
    recipe = replace(FEW, iterations=60, problems=2, samples=32, max_new_tokens=1, lr=1e-2)
    reward = lambda rollouts: np.array([r.ids[0] % 8 == 3 for r in rollouts])  # noqa: E731
    _, log = grpo(tiny_base(), recipe, tmp_path / "b.safetensors", reward=reward, loop=Loop(progress=False))
    assert log[0]["reward"] < 0.3 and np.mean([row["reward"] for row in log[-5:]]) > 0.95


def test_advantages_are_standardised_within_a_problem() -> None:
    standardised = advantages(np.array([[1.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]))
    first = standardised[0]
    assert first[0] > 0 > first[1] and abs(first.sum()) < 1e-9 and abs(first.std() - 1) < 1e-3
    assert not standardised[1:].any(), "a group without variance teaches nothing"


def test_environment_and_prompt_tokens_have_no_gradient() -> None:
    """The loss of a rollout is -A * sum of log p over model-chosen tokens, by a plain reference."""
    host = tiny_base()
    rollouts, advantage = [rollout(CAREFUL), rollout(GUESS)], np.array([1.0, -2.0])
    expected = torch.zeros(())
    for r, a in zip(rollouts, advantage, strict=True):
        logp = host.model(torch.tensor([r.all_ids])).logits[0].log_softmax(-1)
        for t, token in enumerate(r.ids):
            if not r.by_environment[t]:
                expected = expected - a * logp[len(r.prompt_ids) + t - 1, token]
    assert sum(rollouts[0].by_environment) == 9
    torch.testing.assert_close(
        policy_loss(host, pad_batch(rollouts, advantage, host.pad_id)), expected, rtol=1e-5, atol=1e-3
    )
    split = split_batches(rollouts, advantage, host.pad_id, row_tokens=100)
    assert len(split) == 2
    torch.testing.assert_close(sum(policy_loss(host, u) for u in split), expected, rtol=1e-5, atol=1e-3)


def test_a_reward_below_the_base_for_30_iterations_raises() -> None:
    falling = [{"reward": 0.5}] * 5 + [{"reward": 0.2}] * 29
    _check_collapse(falling, GrpoRecipe())
    with pytest.raises(DataError, match="stayed below"):
        _check_collapse([*falling, {"reward": 0.2}], GrpoRecipe())


def test_a_build_without_skills_raises_and_trains_nothing_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"copying 0\.\d+ < 0\.99"):
        check_base(probe_skills(new_model(TINY), n=4))
    recipe = replace(recipes.get("tiny-when"), base=ModelRecipe(TINY), thinking=ModelRecipe("base", (FEW,)))
    with pytest.raises(DataError, match="none of 4 initialisations"):
        build("tiny-when", tmp_path / "pair", recipe=recipe, progress=False)
    assert not (tmp_path / "pair").exists() and (tmp_path / "pair.partial").exists()
    assert "model.lm_head.weight" not in load_file(tmp_path / "pair.partial" / "base-0.safetensors"), (
        "tied weights once"
    )
    failed = sorted((tmp_path / "pair.partial").glob("*.failed"))
    assert len(failed) == 4 and all("copies operands" in path.read_text() for path in failed)
    with pytest.raises(
        DataError, match="none of 4"
    ):  # a restart reads the failures, and trains nothing again
        build("tiny-when", tmp_path / "pair", recipe=recipe, progress=False)


def test_building_into_an_existing_directory_raises(tmp_path: Path) -> None:
    (tmp_path / "pair").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        build("tiny-when", tmp_path / "pair", progress=False)
