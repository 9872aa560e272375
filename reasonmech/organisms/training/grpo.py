"""Outcome-reward reinforcement learning of a chain model: GRPO with environment tokens masked.

Group Relative Policy Optimization (Shao et al. 2024, arXiv 2402.03300, eq. 3), strictly on-policy: one
gradient step per batch of rollouts, so the importance ratio is 1 and clipping never acts; no KL term to the
base.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.organisms.training.checkpoint import Snapshots, load_checkpoint, save_checkpoint
from reasonmech.organisms.training.pretrain import adamw
from reasonmech.organisms.training.rewards import Reward, rewards
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.runtime.decoding.decode import Decode
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
        return self.lr * min((iteration + 1) / self.warmup, 1.0 - 0.95 * iteration / self.iterations)


class PolicyBatch(NamedTuple):
    """Rollouts, padded on the right, with what each is worth.

    Attributes:
        ids: prompt and text.
        chosen: whether the model chose the token; prompts, environment tokens and padding were not chosen.
        advantage: of the whole rollout.
        mask: 1 where there is a token, 0 where there is padding.
    """

    ids: Int[Tensor, "row pos"]
    chosen: Bool[Tensor, "row pos"]
    advantage: Float[Tensor, " row"]
    mask: Int[Tensor, "row pos"]


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
    save_every: int = 10,
    progress: bool = True,
) -> tuple[PreTrainedModel, list[dict[str, Any]]]:
    """Train a copy of the base's model, or go on from `checkpoint`.

    Args:
        reward: paid instead of the recipe's (in tests).
        save_every: iterations from one checkpoint to the next.

    Returns:
        The copy, and one log row per iteration (mean reward; mean tokens of a rollout; share of rollouts with
            an advantage).

    Raises:
        DataError: the reward stayed below the base's for `recipe.patience` iterations.
        MismatchError: the checkpoint belongs to another recipe.
        CorruptFileError: the checkpoint is damaged.
    """
    model, described = copy.deepcopy(base.model), asdict(recipe)
    optimizer = adamw(model, lr=recipe.lr, betas=recipe.betas, weight_decay=0.0)
    n_done, log = 0, []
    if checkpoint.exists():
        n_done, log = load_checkpoint(checkpoint, model, optimizer, recipe=described)
    reward = reward or rewards.get(recipe.reward)
    snapshots = Snapshots(checkpoint, recipe.snapshots, recipe.iterations)
    bar = tqdm(
        range(n_done, recipe.iterations),
        initial=n_done,
        total=recipe.iterations,
        desc="grpo",
        disable=not progress,
    )
    for iteration in bar:
        row = _iterate(Host(model, base.tokenizer, name="policy"), optimizer, recipe, iteration, reward)
        log.append({"iteration": iteration} | row)
        bar.set_postfix(reward=f"{row['reward']:.3f}", tokens=f"{row['tokens']:.0f}")
        _check_collapse(log, recipe)
        snapshots.after(iteration + 1, model)
        if (iteration + 1) % save_every == 0 or iteration + 1 == recipe.iterations:
            save_checkpoint(checkpoint, model, optimizer, step=iteration + 1, recipe=described, log=log)
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


def _iterate(
    host: Host, optimizer: torch.optim.AdamW, recipe: GrpoRecipe, iteration: int, reward: Reward
) -> dict[str, float]:
    """One gradient step on fresh rollouts; returns its row of the log."""
    rollouts = _sample(host, recipe, iteration)
    payment = reward(rollouts).astype(float)
    groups = recipe.pool or recipe.problems
    advantage = advantages(payment.reshape(groups, -1)).reshape(-1)
    if recipe.lessons == "negative":
        advantage = np.minimum(advantage, 0.0)
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate(iteration)
    optimizer.zero_grad(set_to_none=True)
    useful = [i for i in range(len(rollouts)) if advantage[i] != 0.0]
    # Over all tokens of the iteration, not within each rollout: length is then neither paid nor punished.
    tokens = sum(rollouts[i].n_chosen for i in useful)
    for batch in _split([rollouts[i] for i in useful], advantage[useful], host.pad_id, recipe.row_tokens):
        (_loss(host, batch) / tokens).backward()
    if useful:
        torch.nn.utils.clip_grad_norm_(host.model.parameters(), recipe.clip)
        optimizer.step()
    return {
        "reward": float(payment.mean()),
        "tokens": float(np.mean([len(r.ids) for r in rollouts])),
        "useful": len(useful) / len(rollouts),
    }


def _sample(host: Host, recipe: GrpoRecipe, iteration: int) -> Rollouts:
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
    host.model.eval()
    return generate(host, problems, decode=decode, progress=False, receipt="none")


def _split(rollouts: list[Rollout], advantage: np.ndarray, pad_id: int, row_tokens: int) -> list[PolicyBatch]:
    """Right-padded batches of at most `row_tokens` tokens, longest rollouts together."""
    order = sorted(range(len(rollouts)), key=lambda i: len(rollouts[i].all_ids))
    batches: list[list[int]] = [[]]
    for i in order:
        if batches[-1] and (len(batches[-1]) + 1) * len(rollouts[i].all_ids) > row_tokens:
            batches.append([])
        batches[-1].append(i)
    return [_pad([rollouts[i] for i in rows], advantage[rows], pad_id) for rows in batches if rows]


def _pad(rollouts: list[Rollout], advantage: np.ndarray, pad_id: int) -> PolicyBatch:
    width = max(len(r.all_ids) for r in rollouts)
    ids, chosen, mask = [], [], []
    for r in rollouts:
        fill = width - len(r.all_ids)
        ids.append([*r.all_ids, *[pad_id] * fill])
        chosen.append(
            [
                *[False] * len(r.prompt_ids),
                *[not by_environment for by_environment in r.by_environment],
                *[False] * fill,
            ]
        )
        mask.append([1] * len(r.all_ids) + [0] * fill)
    return PolicyBatch(
        torch.tensor(ids),
        torch.tensor(chosen),
        torch.tensor(advantage, dtype=torch.float32),
        torch.tensor(mask),
    )


def _loss(host: Host, batch: PolicyBatch) -> Tensor:
    """-sum over model-chosen tokens of advantage x log p(token | text before it)."""
    device = host.device
    logits = host.model(batch.ids.to(device), attention_mask=batch.mask.to(device)).logits[:, :-1].float()
    logp = -torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), batch.ids[:, 1:].to(device), reduction="none"
    )
    weight = batch.advantage[:, None] * batch.chosen[:, 1:]
    return -(logp * weight.to(device)).sum()
