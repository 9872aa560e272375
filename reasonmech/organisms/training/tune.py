"""Supervised training of a model that exists, on documents in other modes or on a teacher's traces."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import LlamaForCausalLM

from reasonmech.errors import DataError
from reasonmech.organisms.training.batches import UNLEARNT, BatchShape, Mix, TokenBatch, draw_batch
from reasonmech.organisms.training.checkpoint import Snapshots, load_checkpoint, save_checkpoint
from reasonmech.organisms.training.corpus import Modes
from reasonmech.organisms.training.pretrain import adamw, linear_decay, next_token_step
from reasonmech.rollout import Rollout
from reasonmech.tasks.chain.world import WORLDS

Data = Callable[[int], TokenBatch]
"""The batch of every step: a function of the step alone, so that a killed run resumes exactly."""


@dataclass(frozen=True)
class TuneRecipe:
    """How a model that exists is trained further on text.

    Attributes:
        world: name of the chain world whose documents are read.
        modes: how often their authors do what.
        skill_share: share of skill documents.
        teacher: a model whose right rollouts are read instead, such as "organism:tiny-when/thinking"
            (distillation); `modes` and `skill_share` then say nothing, and `world` names its task.
        problems: of the training split that the teacher solves, once each at T = 1.
        snapshots: how many intermediate models are stored, evenly spaced, the last one included.
    """

    seed: int = 0
    steps: int = 400
    rows: int = 43
    length: int = 192
    lr: float = 1e-3
    warmup: int = 30
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    world: str = "chain"
    skill_share: float = 0.25
    modes: Modes = field(default_factory=Modes)
    teacher: str = ""
    problems: int = 1000
    snapshots: int = 0

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then linearly down to a twentieth."""
        return self.lr * linear_decay(step, steps=self.steps, warmup=self.warmup)


def corpus_data(recipe: TuneRecipe) -> Data:
    """Documents of the recipe's world, a fresh batch for every step."""
    world = next(world for world in WORLDS if world.name == recipe.world)
    shape = BatchShape(recipe.rows, recipe.length)
    return lambda step: draw_batch(
        recipe.seed, step, modes=recipe.modes, mix=Mix(recipe.skill_share), shape=shape, world=world
    )


def trace_data(recipe: TuneRecipe, rollouts: Sequence[Rollout]) -> Data:
    """A teacher's rollouts laid end to end, drawn with replacement; environment tokens and prompts are not
    learnt.

    Raises:
        DataError: there are none.
    """
    if not rollouts:
        raise DataError(
            "no rollouts to learn from", do="let the teacher solve problems of the training split first"
        )

    def draw(step: int) -> TokenBatch:
        rng = random.Random(f"traces|{recipe.seed}|{step}")
        ids, labels = [], []
        for _ in range(recipe.rows):
            row_ids: list[int] = []
            row_labels: list[int] = []
            while len(row_ids) < recipe.length:
                rollout = rng.choice(rollouts)
                row_ids += rollout.all_ids
                row_labels += [UNLEARNT] * len(rollout.prompt_ids)
                row_labels += [
                    UNLEARNT if by_environment else token
                    for token, by_environment in zip(rollout.ids, rollout.by_environment, strict=True)
                ]
            ids.append(row_ids[: recipe.length])
            labels.append(row_labels[: recipe.length])
        return TokenBatch(torch.tensor(ids), torch.tensor(labels))

    return draw


def tune(
    start: LlamaForCausalLM,
    recipe: TuneRecipe,
    checkpoint: Path,
    *,
    data: Data,
    save_every: int = 100,
    progress: bool = True,
) -> tuple[LlamaForCausalLM, list[dict[str, Any]]]:
    """Train a copy of `start`, or go on from `checkpoint`.

    Args:
        data: the batch of every step: `corpus_data`, or `trace_data` of a teacher's rollouts.
        save_every: steps from one checkpoint to the next.

    Returns:
        The copy, and one log row per `save_every` steps (step; loss in nats a token).

    Raises:
        MismatchError: the checkpoint belongs to another recipe.
        CorruptFileError: the checkpoint is damaged.
    """
    model, described = copy.deepcopy(start), asdict(recipe)
    optimizer = adamw(model, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)
    n_done, log = 0, []
    if checkpoint.exists():
        n_done, log = load_checkpoint(checkpoint, model, optimizer, recipe=described)
    snapshots = Snapshots(checkpoint, recipe.snapshots, recipe.steps)
    model.train()
    bar = tqdm(
        range(n_done, recipe.steps), initial=n_done, total=recipe.steps, desc="tune", disable=not progress
    )
    for step in bar:
        loss = next_token_step(model, optimizer, data(step), lr=recipe.learning_rate(step), clip=recipe.clip)
        bar.set_postfix(loss=f"{loss:.3f}")
        snapshots.after(step + 1, model)
        if (step + 1) % save_every == 0 or step + 1 == recipe.steps:
            log.append({"step": step + 1, "loss": loss})
            save_checkpoint(checkpoint, model, optimizer, step=step + 1, recipe=described, log=log)
    return model.eval(), log
