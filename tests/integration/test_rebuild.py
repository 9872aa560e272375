"""A short version of `organisms build tiny-when`: the corpus teaches, and the reward teaches the timing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reasonmech.behaviours import onset_rate
from reasonmech.hosts import Host, load_pair
from reasonmech.organisms.recipes import recipes
from reasonmech.organisms.training.grpo import GrpoRecipe, grpo
from reasonmech.organisms.training.pretrain import PretrainRecipe, pretrain
from reasonmech.organisms.training.skills import SkillProbe, probe_skills
from reasonmech.runtime import Decode, generate
from reasonmech.tasks import grade, load_task, parse
from reasonmech.tasks.chain import word_tokenizer

pytestmark = pytest.mark.slow
RECIPE = recipes.get("tiny-when")
PRETRAIN, GRPO = RECIPE.base.start, RECIPE.thinking.stages[0]
assert isinstance(PRETRAIN, PretrainRecipe)
assert isinstance(GRPO, GrpoRecipe)


def test_two_hundred_steps_teach_the_shape_of_a_solution(tmp_path: Path) -> None:
    model, log = pretrain(
        replace(PRETRAIN, steps=200), tmp_path / "b.safetensors", probe=SkillProbe(probe_skills)
    )
    assert log[-1]["loss"] < 1.5  # 4.9 at the start
    assert log[-1]["p_check"] > 0.3 and log[-1]["p_thorough"] > 0.3
    assert model.config.tie_word_embeddings


def test_thirty_iterations_of_grpo_teach_the_shipped_base_to_check(tmp_path: Path) -> None:
    base = load_pair("tiny-when").base
    recipe = replace(GRPO, iterations=30, seed=7)
    thinking, log = grpo(base, recipe, tmp_path / "t.safetensors")
    rewards = [row["reward"] for row in log]
    assert np.mean(rewards[:3]) < 0.45 and np.mean(rewards[-3:]) > 0.8
    problems = load_task("chain", n=60, seed=3, split="tuning")
    decode = Decode(max_new_tokens=224, temperature=1.0)
    for model, low, high in ((base, 0.0, 0.3), (Host(thinking, word_tokenizer(), name="thinking"), 0.7, 1.0)):
        rollouts = generate(model, problems, decode=decode, receipt="none")
        assert low <= onset_rate(parse(rollouts), "check").value <= high
    assert grade(rollouts).mean() > 0.75
