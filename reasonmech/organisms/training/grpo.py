"""Outcome-reward reinforcement learning of a chain model: GRPO with environment tokens masked.

Group Relative Policy Optimization (Shao et al. 2024, arXiv 2402.03300, eq. 3), strictly on-policy: one
gradient step per batch of rollouts, so the importance ratio is 1 and clipping never acts; no KL term to the
base.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.organisms.training.checkpoint import Snapshots, load_checkpoint, save_checkpoint
from reasonmech.organisms.training.policy_batch import (
    PolicyBatch,
    loss_of_choices,
    policy_loss,
    split_batches,
)
from reasonmech.organisms.training.pretrain import adamw, linear_decay
from reasonmech.organisms.training.rewards import Reward, rewards
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.decoder import Decoder
from reasonmech.runtime.decoding.generate import generate
from reasonmech.tasks import load_task


@dataclass(frozen=True)
class GrpoRecipe:
    """How a thinking model is made from its base. The defaults build tiny-when's thinking model.

    Attributes:
        problems, samples: rollouts per iteration: that many problems, that many samples each.
        patience: iterations with mean reward below the first five's before the run is given up.
        row_tokens: padded tokens per backward pass (memory only; gradients are summed).
        task: name of the task whose training split is drawn from.
        reward: name of what is paid for (`rewards`).
        pool: how many problems there are in all; 0: fresh ones in every iteration. 1 is one-shot training
            (Wang et al. 2025, arXiv 2504.20571): the one problem fills the whole batch.
        lessons: which advantages are learnt from; "negative" leaves out what was better than its group
            (Zhu et al. 2025, arXiv 2506.01347: negative sample reinforcement).
        snapshots: how many intermediate models are stored, evenly spaced, the last one included.
    """

    seed: int = 0
    iterations: int = 120
    problems: int = 24
    samples: int = 8
    lr: float = 3e-4
    warmup: int = 5
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    max_new_tokens: int = 224
    patience: int = 30
    row_tokens: int = 8192
    task: str = "chain"
    reward: str = "outcome"
    pool: int = 0
    lessons: Literal["all", "negative"] = "all"
    snapshots: int = 0

    def learning_rate(self, iteration: int) -> float:
        """A short warm-up, then linearly down to a twentieth: late batches teach little, and shake."""
        return self.lr * linear_decay(iteration, steps=self.iterations, warmup=self.warmup)

    def loss(self, host: Host, batch: PolicyBatch) -> Tensor:
        """-sum over model-chosen tokens of advantage x log p(token | text before it)."""
        return policy_loss(host, batch)


@dataclass(frozen=True)
class EntropyRecipe(GrpoRecipe):
    """The same with a bonus for undecided choices, so that a rare one is not lost before it has paid.

    Attributes:
        entropy: nats of a choice's entropy are worth this much beside an advantage, which has unit variance.
    """

    entropy: float = 0.0

    def loss(self, host: Host, batch: PolicyBatch) -> Tensor:
        return loss_of_choices(host, batch, self.entropy)


class Writer(Protocol):
    """What writes one iteration's rollouts, with the weights of a host as they stand."""

    def __call__(self, host: Host) -> Host | Decoder: ...


Log = list[dict[str, Any]]


@dataclass(frozen=True)
class Loop:
    """How a training is run; what is learnt depends on none of it but `stop`.

    Attributes:
        save_every: iterations from one checkpoint to the next.
        progress: show a bar.
        writer: another way to write the same rollouts, up to rounding.
        measure: numbers of an iteration's rollouts for the log.
        stop: after every iteration, whether the log says that it was the last.
    """

    save_every: int = 10
    progress: bool = True
    writer: Writer = lambda host: host
    measure: Callable[[Rollouts], dict[str, float]] = lambda rollouts: {}
    stop: Callable[[Log], bool] = lambda log: False


def advantages(
    rewards: Float[np.ndarray, "problem sample"],
) -> Float[np.ndarray, "problem sample"]:
    """Reward standardised within each problem's group: (r - mean) / (std + 1e-4).

    A group whose rewards are all equal teaches nothing and gets 0.
    """
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    # Equal rewards have no spread to divide by; a real one (0.33 for one right in eight) hardly feels 1e-4.
    return centred / (rewards.std(axis=1, keepdims=True) + 1e-4)


def grpo(
    base: Host,
    recipe: GrpoRecipe,
    checkpoint: Path,
    *,
    reward: Reward | None = None,
    loop: Loop | None = None,
) -> tuple[PreTrainedModel, Log]:
    """Train a copy of the base's model, or go on from `checkpoint`; what is frozen in it stays as it is.

    Args:
        reward: paid instead of the recipe's (in tests).

    Returns:
        The copy, and one log row per iteration (mean reward; mean tokens of a rollout; share of rollouts with
            an advantage; what the loop measures).

    Raises:
        DataError: the reward stayed below the base's for `recipe.patience` iterations.
        MismatchError: the checkpoint belongs to another recipe.
        CorruptFileError: the checkpoint is damaged.
    """
    model, described, loop = copy.deepcopy(base.model), asdict(recipe), loop or Loop()
    optimizer = adamw(model, lr=recipe.lr, betas=recipe.betas, weight_decay=0.0)
    n_done, log = 0, []
    if checkpoint.exists():
        n_done, log = load_checkpoint(checkpoint, model, optimizer, recipe=described)
    reward = reward or rewards.get(recipe.reward)
    snapshots = Snapshots(checkpoint, recipe.snapshots, recipe.iterations)
    policy = Host(model, base.tokenizer, name="policy")
    bar = tqdm(
        range(n_done, recipe.iterations),
        initial=n_done,
        total=recipe.iterations,
        desc="grpo",
        disable=not loop.progress,
    )
    for iteration in bar:
        rollouts = _sample(loop.writer(policy), recipe, iteration)
        row = _learn(policy, optimizer, recipe, rollouts, lr=recipe.learning_rate(iteration), reward=reward)
        log.append({"iteration": iteration} | row | loop.measure(rollouts))
        bar.set_postfix(reward=f"{row['reward']:.3f}", tokens=f"{row['tokens']:.0f}")
        _check_collapse(log, recipe)
        snapshots.after(iteration + 1, model)
        last = iteration + 1 == recipe.iterations or loop.stop(log)
        if (iteration + 1) % loop.save_every == 0 or last:
            save_checkpoint(checkpoint, model, optimizer, step=iteration + 1, recipe=described, log=log)
        if last:
            break
    return model.eval(), log


def _check_collapse(log: list[dict[str, Any]], recipe: GrpoRecipe) -> None:
    start = float(np.mean([row["reward"] for row in log[:5]]))  # the warm-up: hardly anything is learnt yet
    recent = [row["reward"] for row in log[5:]][-recipe.patience :]
    if len(recent) == recipe.patience and max(recent) < start:
        raise DataError(
            f"the reward stayed below the base's {start:.2f} for {recipe.patience} iterations (best "
            f"{max(recent):.2f})",
            do="check the base's skills first: working step by step must pay more than guessing",
        )


def _learn(
    host: Host,
    optimizer: torch.optim.AdamW,
    recipe: GrpoRecipe,
    rollouts: Rollouts,
    *,
    lr: float,
    reward: Reward,
) -> dict[str, float]:
    """One gradient step on fresh rollouts; returns its row of the log."""
    payment = reward(rollouts).astype(float)
    groups = recipe.pool or recipe.problems
    advantage = advantages(payment.reshape(groups, -1)).reshape(-1)
    if recipe.lessons == "negative":
        advantage = np.minimum(advantage, 0.0)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    useful = [i for i in range(len(rollouts)) if advantage[i] != 0.0]
    # Over all tokens of the iteration, not within each rollout: length is then neither paid nor punished.
    tokens = sum(rollouts[i].n_chosen for i in useful)
    for batch in split_batches(
        [rollouts[i] for i in useful], advantage[useful], host.pad_id, recipe.row_tokens
    ):
        (recipe.loss(host, batch) / tokens).backward()
    if useful:
        torch.nn.utils.clip_grad_norm_(host.model.parameters(), recipe.clip)
        optimizer.step()
    return {
        "reward": float(payment.mean()),
        "tokens": float(np.mean([len(r.ids) for r in rollouts])),
        "useful": len(useful) / len(rollouts),
    }


def _sample(writer: Host | Decoder, recipe: GrpoRecipe, iteration: int) -> Rollouts:
    """One iteration's rollouts: `problems` x `samples` of them, with a fixed pool of problems or without."""
    rows, groups = recipe.problems * recipe.samples, recipe.pool or recipe.problems
    # A seed of problems per iteration; two recipe seeds never meet the same one before iteration 1,000,000.
    seed = recipe.seed * 1_000_000 + (0 if recipe.pool else iteration)
    problems = load_task(recipe.task, n=groups, seed=seed, split="train")
    decode = Decode(
        max_new_tokens=recipe.max_new_tokens,
        temperature=1.0,
        samples=rows // groups,
        seed=recipe.seed + (iteration if recipe.pool else 0),  # other noise where the problems are the same
        batch_size=rows,
    )
    return generate(writer, problems, decode=decode, progress=False, receipt="none")
