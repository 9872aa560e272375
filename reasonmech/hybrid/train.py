"""Optimise one steering vector per category so that the base writes what the thinking model wrote.

After "Base Models Know How to Reason, Thinking Models Learn When" (arXiv 2510.07364): vectors are trained by
cross-entropy on the thinking model's token at teacher-forced disagreements. Ours isolates positions during training:
a vector acts at one position, against clean keys and values, exactly as it does in decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from reasonmech.errors import NonFiniteError
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

    steps: int = Field(default=300, ge=1, description="Adam steps, each on the disagreements of one batch of rollouts")
    lr: float = Field(default=0.03, gt=0, description="Adam learning rate, residual-norm units")
    batch_rollouts: int = Field(default=16, ge=1, description="rollouts per step")
    min_count: int = Field(default=8, ge=1, description="disagreements below which a category gets no vector")
    held_out: float = Field(default=0.2, gt=0, lt=1, description="share of the rollouts kept for the agreement report")
    seed: int = Field(default=0, description="of the order of batches")


class TrainedVectors(NamedTuple):
    """Category vectors, and how well they do on rollouts they were not trained on.

    Attributes:
        agreement: share of held-out disagreements at which the steered base writes the thinking model's token.
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
    """Fit category vectors for the base `host` on greedy rollouts of its thinking sibling.

    Raises:
        DataError: the models agree on every token.
        NonFiniteError: the optimisation diverged.
    """
    config = config or VectorConfig()
    passes = list(clean_passes(host, rollouts, batch_size=config.batch_rollouts))
    n_held = max(1, round(config.held_out * len(passes)))
    held_passes, passes = passes[:n_held], passes[n_held:] or passes
    found = find_disagreements(passes, rollouts, kinds)
    counts = torch.bincount(found.category, minlength=len(kinds.names))
    table = torch.zeros(len(kinds.names), host.d_model, device=host.device, requires_grad=True)
    _optimise(host, host.check_site(site), table, passes, found, config, progress)
    if not bool(torch.isfinite(table).all()):
        raise NonFiniteError(f"category vectors at {site} diverged", do=f"lower the learning rate (now {config.lr})")
    trained = counts >= config.min_count
    vectors = Vectors(host, site, table=table.detach(), trained=trained)
    held = find_disagreements(held_passes, rollouts, kinds)
    agreement = _agreement(vectors, held_passes, held)
    return TrainedVectors(vectors, agreement, held.rate, dict(zip(kinds.names, counts.tolist(), strict=True)))


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
        logits = _steer(host, site, table, clean, found, rows)
        loss = cross_entropy(logits.float(), found.target[rows].to(logits.device))
        (table.grad,) = torch.autograd.grad(loss, [table])
        optimizer.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}")


def _rows(clean: Clean, found: Disagreements) -> Tensor:
    """Rows of `found` that lie in the rollouts of one pass."""
    inside = (found.rollout >= clean.first) & (found.rollout < clean.first + len(clean.ids))
    return inside.nonzero()[:, 0]


def _steer(host: Host, site: Site, table: Tensor, clean: Clean, found: Disagreements, rows: Tensor) -> NextLogits:
    added = table[found.category[rows].to(table.device)]
    return rerun(host, clean.context(found.rollout[rows], found.position[rows]), site, lambda x: x + added.to(x))


@torch.no_grad()
def _agreement(vectors: Vectors, passes: Sequence[Clean], found: Disagreements) -> float:
    hits = 0
    for clean in passes:
        rows = _rows(clean, found)
        if len(rows):
            logits = _steer(vectors.host, vectors.site, vectors.table, clean, found, rows)
            hits += int((logits.argmax(-1).cpu() == found.target[rows]).sum())
    return hits / len(found)
