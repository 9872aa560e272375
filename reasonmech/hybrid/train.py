"""Optimise one steering vector per category so that the base writes what the thinking model wrote.

After "Base Models Know How to Reason, Thinking Models Learn When" (arXiv 2510.07364): vectors are trained by
cross-entropy on the thinking model's token at teacher-forced disagreements. Ours isolates positions during
training: a vector acts at one position, against clean keys and values, exactly as it does in decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.hosts import Host
from reasonmech.hybrid.disagreements import Clean, Disagreements, clean_passes, find_disagreements
from reasonmech.hybrid.executors import Vectors
from reasonmech.hybrid.kinds import Kinds
from reasonmech.rollout import Rollout
from reasonmech.runtime.rerun import rerun
from reasonmech.shapes import NextLogits
from reasonmech.site import Site


class VectorConfig(BaseModel):
    """How category vectors are optimised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(
        default=300, ge=1, description="Adam steps, each on the disagreements of one batch of rollouts"
    )
    lr: float = Field(default=0.03, gt=0, description="Adam learning rate, residual-norm units")
    batch_rollouts: int = Field(default=16, ge=1, description="rollouts per step")
    max_rows: int = Field(default=512, ge=1, description="disagreements per step, at most; bounds memory")
    min_count: int = Field(default=8, ge=1, description="disagreements below which a category gets no vector")
    held_out: float = Field(
        default=0.2, gt=0, lt=1, description="share of the problems kept for the agreement report"
    )
    seed: int = Field(default=0, description="of the order of batches")


class TrainedVectors(NamedTuple):
    """Category vectors, and how well they do on rollouts they were not trained on.

    Attributes:
        agreement: share of held-out disagreements at which the steered base writes the thinking model's
            token.
        rate: the pair's disagreements per model-chosen token, on held-out rollouts.
        counts: training disagreements per category.
    """

    vectors: Vectors
    agreement: float
    rate: float
    counts: dict[str, int]


def train_vectors(
    host: Host,
    site: Site | str,
    rollouts: Sequence[Rollout],
    *,
    kinds: Kinds,
    config: VectorConfig | None = None,
    progress: bool = True,
) -> TrainedVectors:
    """Fit category vectors for the base `host` on rollouts of its thinking sibling (greedy ones, where it
    will be too).

    The clean keys and values of all rollouts are kept, for they are used again and again: memory grows with
    their number of tokens.

    Raises:
        DataError: the models agree on every token, or there are fewer than two problems.
        NonFiniteError: the optimisation diverged.
    """
    config = config or VectorConfig()
    fitted, kept = _split(rollouts, config.held_out)
    passes = list(clean_passes(host, fitted, batch_size=config.batch_rollouts))
    found = find_disagreements(passes, fitted, kinds)
    counts = torch.bincount(found.category, minlength=len(kinds.names))
    table = torch.zeros(len(kinds.names), host.d_model, device=host.device, requires_grad=True)
    _optimise(host, host.check_site(site), table, passes, found, config, progress)
    if not bool(torch.isfinite(table).all()):
        raise NonFiniteError(
            f"category vectors at {site} diverged", do=f"lower the learning rate (now {config.lr})"
        )
    trained = counts >= config.min_count
    vectors = Vectors(host, site, table=table.detach(), trained=trained)
    held_passes = list(clean_passes(host, kept, batch_size=config.batch_rollouts))
    held = find_disagreements(held_passes, kept, kinds)
    agreement = _agreement(vectors, held_passes, held)
    return TrainedVectors(vectors, agreement, held.rate, dict(zip(kinds.names, counts.tolist(), strict=True)))


def _split(rollouts: Sequence[Rollout], held_out: float) -> tuple[list[Rollout], list[Rollout]]:
    """Rollouts to fit on and rollouts kept, by problem."""
    problems = list(dict.fromkeys(r.problem.id for r in rollouts))
    n = max(1, round(held_out * len(problems)))
    if len(problems) < 2:
        raise DataError(f"{len(problems)} problem to train category vectors on", allowed="2 or more")
    kept = set(problems[:n])
    return [r for r in rollouts if r.problem.id not in kept], [r for r in rollouts if r.problem.id in kept]


def _optimise(
    host: Host,
    site: Site,
    table: Tensor,
    passes: Sequence[Clean],
    found: Disagreements,
    config: VectorConfig,
    progress: bool,
) -> None:
    """Adam on the mean cross-entropy; only `table` moves."""
    optimizer = torch.optim.Adam([table], lr=config.lr)
    generator = torch.Generator().manual_seed(config.seed)
    order: list[int] = []
    for _ in (bar := tqdm(range(config.steps), desc="category vectors", disable=not progress, delay=1.0)):
        order = order or torch.randperm(len(passes), generator=generator).tolist()
        clean = passes[order.pop()]
        rows = _rows(clean, found)
        if len(rows) == 0:
            continue
        rows = rows[torch.randperm(len(rows), generator=generator)[: config.max_rows]]
        logits = _steer(host, site, table, clean, found, rows)
        loss = cross_entropy(logits.float(), found.target[rows].to(logits.device))
        (table.grad,) = torch.autograd.grad(loss, [table])
        optimizer.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}")


def _rows(clean: Clean, found: Disagreements) -> Tensor:
    """Rows of `found` that lie in the rollouts of one pass."""
    inside = (found.rollout >= clean.first) & (found.rollout < clean.first + len(clean.ids))
    return inside.nonzero()[:, 0]


def _steer(
    host: Host, site: Site, table: Tensor, clean: Clean, found: Disagreements, rows: Tensor
) -> NextLogits:
    added = table[found.category[rows].to(table.device)]
    return rerun(
        host, clean.context(found.rollout[rows], found.position[rows]), site, lambda x: x + added.to(x)
    )


@torch.no_grad()
def _agreement(vectors: Vectors, passes: Sequence[Clean], found: Disagreements) -> float:
    hits = 0
    for clean in passes:
        rows = _rows(clean, found)
        if len(rows):
            logits = _steer(vectors.host, vectors.site, vectors.table, clean, found, rows)
            hits += int((logits.argmax(-1).cpu() == found.target[rows]).sum())
    return hits / len(found)
