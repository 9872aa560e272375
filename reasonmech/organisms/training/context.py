"""Context distillation: a model learns to do without a prompt what it does with one (Askell et al. 2021)."""

from __future__ import annotations

import copy
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import LlamaForCausalLM

from reasonmech.hosts import Host
from reasonmech.organisms.training.checkpoint import load_checkpoint, save_checkpoint
from reasonmech.organisms.training.policy_batch import PaddedRollouts, pad_rollouts
from reasonmech.organisms.training.pretrain import adamw, descend, linear_decay
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.tasks import load_task
from reasonmech.tasks.chain import word_tokenizer


@dataclass(frozen=True)
class ContextRecipe:
    """How a model is trained towards itself with a prompt: arXiv 2112.00861, section 2.3.

    KL(model with the prompt || model being trained, without it), nats per token, at the tokens that the
    prompted model chose in its own solutions at T = 1. Nothing is graded and nothing else is read.

    Attributes:
        prompt: words put before every problem.
        task: whose training split is solved with the prompt.
        problems: how many of it, once each.
        rows: solutions per step.
    """

    seed: int = 0
    steps: int = 100
    rows: int = 24
    lr: float = 5e-4
    warmup: int = 10
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    prompt: str = "careful"
    task: str = "chain"
    problems: int = 500

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then linearly down to a twentieth."""
        return self.lr * linear_decay(step, steps=self.steps, warmup=self.warmup)


def with_prompt(problems: ProblemSet, words: str) -> ProblemSet:
    """The same problems with words before each; ids, answers and environment stay."""
    prompted = [replace(problem, prompt=f"{words} {problem.prompt}") for problem in problems]
    return ProblemSet(prompted, task=problems.task, environment=problems.environment)


def solve_with_prompt(model: LlamaForCausalLM, recipe: ContextRecipe) -> Rollouts:
    """What the model writes at T = 1 when the prompt stands before every problem."""
    problems = load_task(recipe.task, n=recipe.problems, seed=recipe.seed, split="train")
    decode = Decode(max_new_tokens=224, temperature=1.0, seed=recipe.seed, batch_size=256)
    host = Host(model, word_tokenizer(), name="prompted")
    return generate(host, with_prompt(problems, recipe.prompt), decode=decode, progress=False, receipt="none")


def distil_context(
    start: LlamaForCausalLM,
    recipe: ContextRecipe,
    checkpoint: Path,
    *,
    save_every: int = 50,
    progress: bool = True,
) -> tuple[LlamaForCausalLM, list[dict[str, Any]]]:
    """Train a copy of `start`, or go on from `checkpoint`; returns it and a log row per `save_every` steps
    (step; KL in nats per token).

    Raises:
        MismatchError: the checkpoint belongs to another recipe.
        CorruptFileError: the checkpoint is damaged.
    """
    model, described = copy.deepcopy(start), asdict(recipe)
    optimizer = adamw(model, lr=recipe.lr, betas=recipe.betas, weight_decay=0.0)
    n_done, log = 0, []
    if checkpoint.exists():
        n_done, log = load_checkpoint(checkpoint, model, optimizer, recipe=described)
    rollouts = solve_with_prompt(start.eval(), recipe) if n_done < recipe.steps else []
    n_prompt = len(recipe.prompt.split())
    bar = tqdm(
        range(n_done, recipe.steps), initial=n_done, total=recipe.steps, desc="context", disable=not progress
    )
    for step in bar:
        rng = random.Random(f"context|{recipe.seed}|{step}")
        batch = pad_rollouts(rng.choices(rollouts, k=recipe.rows), start.config.pad_token_id or 0)
        divergence = _divergence(start, model, batch, n_prompt)
        kl = descend(model, optimizer, divergence, lr=recipe.learning_rate(step), clip=recipe.clip)
        bar.set_postfix(kl=f"{kl:.4f}")
        if (step + 1) % save_every == 0 or step + 1 == recipe.steps:
            log.append({"step": step + 1, "kl": kl})
            save_checkpoint(checkpoint, model, optimizer, step=step + 1, recipe=described, log=log)
    return model.eval(), log


def _divergence(
    teacher: LlamaForCausalLM, student: LlamaForCausalLM, prompted: PaddedRollouts, n_prompt: int
) -> Tensor:
    """Mean KL(teacher with the prompt || student without its `n_prompt` tokens), nats per token that the
    teacher chose."""
    at = prompted.chosen[:, n_prompt + 1 :].to(teacher.device)  # the logits at a token predict the next one
    with torch.no_grad():
        wanted = teacher(prompted.ids.to(teacher.device)).logits[:, n_prompt:-1][at].log_softmax(-1)
    plain = prompted.ids[:, n_prompt:].to(student.device)
    got = student(plain).logits[:, :-1][at].log_softmax(-1)
    return (wanted.exp() * (wanted - got)).sum(-1).mean()
