"""Pretrain a chain base model, a small Llama, on the corpus of `corpus.py`; seeded and resumable."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from reasonmech.organisms.training.batches import UNLEARNT, BatchShape, Mix, TokenBatch, draw_batch
from reasonmech.organisms.training.checkpoint import load_checkpoint, save_checkpoint
from reasonmech.organisms.training.corpus import IDS, Modes
from reasonmech.organisms.training.skills import SkillProbe
from reasonmech.tasks.chain.grammar import EOS, PAD


@dataclass(frozen=True)
class PretrainRecipe:
    """What a base model is made of. The defaults build tiny-when's base.

    Attributes:
        skill_share: share of skill documents at the start, at the end, and over how many steps it falls.
        drill: share of copying drills (see `Author.write_document`) from `drill_from` of the steps on, while
            the last probe found copying below `drill_below`. Decided at every checkpoint, from its log; by
            default in extra rounds.
        extra, rounds: steps of an extra round, and how many there may be, while a skill is missing at the
            end.
    """

    seed: int = 0
    steps: int = 2400
    rows: int = 43
    length: int = 192
    lr: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    skill_share: tuple[float, float, int] = (0.85, 0.25, 400)
    drill: float = 0.3
    drill_from: float = 1.0
    drill_below: float = 0.99
    extra: int = 800
    rounds: int = 2
    n_layers: int = 4
    d_model: int = 128
    n_heads: int = 4
    d_mlp: int = 384
    modes: Modes = field(default_factory=Modes)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to a tenth; an extra round restarts the cosine at half."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if step < self.steps:
            peak, progress = 1.0, (step - self.warmup) / max(1, self.steps - self.warmup)
        else:
            peak, progress = 0.5, (step - self.steps) % self.extra / self.extra
        return self.lr * (0.1 + (peak - 0.1) * 0.5 * (1 + math.cos(math.pi * progress)))

    def ends(self) -> tuple[int, ...]:
        """Steps at which training may end: after the schedule, and after every extra round."""
        return tuple(self.steps + i * self.extra for i in range(self.rounds + 1))

    def skill_share_at(self, step: int) -> float:
        """Share of skill documents at a step."""
        first, last, over = self.skill_share
        return first + (last - first) * min(1.0, step / over)

    def drill_share_at(self, step: int, log: list[dict[str, Any]]) -> float:
        """Share of copying drills at a step, from the log of the probes so far."""
        behind = bool(log) and log[-1].get("copying", 1.0) < self.drill_below
        return self.drill if behind and step >= self.drill_from * self.steps else 0.0


def new_model(recipe: PretrainRecipe) -> LlamaForCausalLM:
    """Random weights of the recipe's seed, float32."""
    config = LlamaConfig(
        vocab_size=len(IDS),
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        num_key_value_heads=recipe.n_heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=IDS[EOS],
        pad_token_id=IDS[PAD],
    )
    with torch.random.fork_rng():  # the caller's own random state goes on as if nothing had been drawn
        torch.manual_seed(recipe.seed)
        return LlamaForCausalLM(config)


def adamw(
    model: PreTrainedModel, *, lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) of what is trained, with decay on matrices only, not on gains."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=betas)


def pretrain(
    recipe: PretrainRecipe,
    checkpoint: Path,
    *,
    probe: SkillProbe | None = None,
    save_every: int = 200,
    progress: bool = True,
) -> tuple[LlamaForCausalLM, list[dict[str, Any]]]:
    """Train, or go on from `checkpoint`; returns the model and one log row per `save_every` steps.

    Args:
        probe: measured and logged at every checkpoint; it may end a hopeless training, or ask for extra
            rounds. Without one there is no extra round.
        save_every: steps from one checkpoint to the next.

    Raises:
        MismatchError: the checkpoint belongs to another recipe.
        CorruptFileError: the checkpoint is damaged.
    """
    model, described = new_model(recipe), asdict(recipe)
    optimizer = adamw(model, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay)
    n_done, log = 0, []
    if checkpoint.exists():
        n_done, log = load_checkpoint(checkpoint, model, optimizer, recipe=described)
    is_ready = probe.is_ready if probe else None
    ends = recipe.ends() if is_ready else (recipe.steps,)
    bar = tqdm(initial=n_done, total=recipe.steps, desc="pretrain", disable=not progress)
    while n_done < ends[-1] and not (n_done in ends and (is_ready is None or is_ready(log[-1]))):
        model.train()
        loss = _pretrain_step(model, optimizer, recipe, n_done, drills=recipe.drill_share_at(n_done, log))
        n_done += 1
        bar.update()
        bar.set_postfix(loss=f"{loss:.3f}")
        if n_done % save_every == 0 or n_done in ends:
            model.eval()
            log.append({"step": n_done, "loss": loss} | (probe.measure(model) if probe else {}))
            save_checkpoint(checkpoint, model, optimizer, step=n_done, recipe=described, log=log)
            # After the checkpoint is written: called again, a training that was given up is not repeated.
            if probe and probe.watch:
                probe.watch(n_done / recipe.steps, log[-1])
    bar.close()
    return model.eval(), log


def _pretrain_step(
    model: LlamaForCausalLM, optimizer: torch.optim.AdamW, recipe: PretrainRecipe, step: int, *, drills: float
) -> float:
    batch = draw_batch(
        recipe.seed,
        step,
        modes=recipe.modes,
        mix=Mix(recipe.skill_share_at(step), drills),
        shape=BatchShape(recipe.rows, recipe.length),
    )
    return next_token_step(model, optimizer, batch, lr=recipe.learning_rate(step), clip=recipe.clip)


def next_token_step(
    model: LlamaForCausalLM, optimizer: torch.optim.AdamW, batch: TokenBatch, *, lr: float, clip: float
) -> float:
    """One step on the next-token loss of a batch; returns the loss in nats a token."""
    ids, labels = batch.ids.to(model.device), batch.labels.to(model.device)
    logits = model(ids).logits[:, :-1]  # those at a token predict the next one
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=UNLEARNT
    )
    return descend(model, optimizer, loss, lr=lr, clip=clip)


def descend(
    model: LlamaForCausalLM, optimizer: torch.optim.AdamW, loss: Tensor, *, lr: float, clip: float
) -> float:
    """One step down the gradient of a loss, whose norm is clipped; returns the loss."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return float(loss.detach())


def linear_decay(step: int, *, steps: int, warmup: int) -> float:
    """Share of the learning rate at a step: linear warm-up, then linearly down to a twentieth."""
    return min((step + 1) / warmup, 1.0 - 0.95 * step / steps)
