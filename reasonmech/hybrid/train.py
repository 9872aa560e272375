"""Optimise one steering vector per category so that the base writes what the thinking model wrote.

After "Base Models Know How to Reason, Thinking Models Learn When" (arXiv 2510.07364): vectors are trained by
cross-entropy on the thinking model's token at teacher-forced disagreements. Ours isolates positions during
training: a vector acts at one position, against clean keys and values, exactly as it does in decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from reasonmech.arguments import as_sequence, check_type
from reasonmech.door import checked
from reasonmech.errors import DataError, NonFiniteError
from reasonmech.hosts import Host
from reasonmech.hybrid.disagreements import CleanPass, Disagreements, clean_passes, find_disagreements
from reasonmech.hybrid.executors import Vectors
from reasonmech.hybrid.parts import check_part
from reasonmech.kinds import Kinds, Openings, with_ends
from reasonmech.mode import fitting
from reasonmech.ranges import Seed
from reasonmech.rollout import Rollout
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.runtime.rerun import rerun
from reasonmech.settings import Settings
from reasonmech.shapes import NextLogits
from reasonmech.site import Site


class VectorConfig(Settings):
    """How category vectors are optimised."""

    steps: int = Field(
        default=300, ge=1, description="Adam steps, each on the disagreements of one batch of rollouts"
    )
    lr: float = Field(default=0.03, gt=0, description="Adam learning rate, residual-norm units")
    batch_rollouts: int = Field(default=16, ge=1, description="rollouts per step")
    max_rows: int = Field(default=512, ge=1, description="disagreements per step, at most; bounds memory")
    min_count: int = Field(default=8, ge=1, description="disagreements below which a category gets no vector")
    held_out: float = Field(
        default=0.2, gt=0, lt=1, description="share of the problems left out for the agreement report"
    )
    seed: Seed = Field(default=0, description="of the order of batches")
    by: Literal["token", "kind"] = Field(
        default="token",
        description="what the models are compared by, and what the base is to write: the thinking model's "
        "token, or a sentence of its kind, in whichever first word",
    )


class TrainedVectors(NamedTuple):
    """Category vectors, and how well they do on rollouts they were not trained on.

    Attributes:
        agreement: share of held-out disagreements at which the steered base writes the thinking model's
            token, or would begin a sentence of its kind.
        rate: the pair's disagreements per model-chosen token, on held-out rollouts.
        counts: training disagreements per category.
    """

    vectors: Vectors
    agreement: float
    rate: float
    counts: dict[str, int]


class _Steering(NamedTuple):
    """Where category vectors act, and what they are while they are fitted: [category, d_model], float32."""

    host: Host
    site: Site
    table: Tensor
    openings: Openings | None = None  # where kinds are compared

    def loss(self, clean: CleanPass, disagreements: Disagreements, rows: Tensor) -> Tensor:
        """Mean of -log P(the thinking model's token, or a first word of its kind), in nats."""
        logits = self.logits(clean, disagreements, rows).float()
        if self.openings is None:
            return cross_entropy(logits, disagreements.target[rows].to(logits.device))
        column = self.openings.columns(disagreements.category[rows]).to(logits.device)
        return cross_entropy(self.openings.of_kinds(logits), column)

    def agrees(self, clean: CleanPass, disagreements: Disagreements, rows: Tensor) -> Tensor:
        """[row] whether the steered base's likeliest token, or kind, is the thinking model's."""
        logits = self.logits(clean, disagreements, rows)
        if self.openings is None:
            return logits.argmax(-1).cpu() == disagreements.target[rows]
        return self.openings.likeliest(logits).cpu() == disagreements.category[rows]

    def logits(self, clean: CleanPass, disagreements: Disagreements, rows: Tensor) -> NextLogits:
        """Next-token logits at these disagreements, each steered by the vector of its category."""
        added = self.table[disagreements.category[rows].to(self.table.device)]
        context = clean.context(disagreements.rollout[rows], disagreements.position[rows])
        return rerun(self.host, context, self.site, lambda x: x + added.to(x))


@fitting("train_vectors")
@checked
def train_vectors(
    host: Host,
    site: Site | str,
    rollouts: Sequence[Rollout],
    *,
    kinds: Kinds,
    config: VectorConfig | None = None,
    progress: bool = True,
) -> TrainedVectors:
    """Fit category vectors for the base `host` on rollouts of its thinking sibling (greedy if it will be).

    The clean keys and values of all rollouts are stored, for they are used again and again: memory grows with
    their number of tokens.

    Args:
        kinds: of the rollouts' task, `tasks.get(rollouts.task).kinds(tokenizer)`; one vector each.

    Raises:
        ArgumentError: no host, rollouts or kinds. UnknownNameError: no such site.
        DataError: the models agree on every token, or there are fewer than two problems.
        NonFiniteError: the optimisation diverged.
    """
    config = config or VectorConfig()
    ground = _Ground.of(host, rollouts, kinds, config)
    return ground.train(host.check_site(site), config, progress=progress)


@fitting("train_draws")
@checked
def train_draws(
    host: Host,
    site: Site | str,
    rollouts: Sequence[Rollout],
    *,
    kinds: Kinds,
    configs: Sequence[VectorConfig],
    progress: bool = True,
) -> list[TrainedVectors]:
    """`train_vectors` several times, on rollouts that are read once: how far a training depends on its luck.

    Args:
        configs: one per training, which differ in seed, steps or rate: a seed decides in which order the
            rollouts come. What is compared and held out is as the first says.

    Raises:
        What `train_vectors` does.
    """
    ground, at = _Ground.of(host, rollouts, kinds, configs[0]), host.check_site(site)
    return [ground.train(at, config, progress=progress) for config in configs]


class _Half(NamedTuple):
    """Rollouts read by the clean host, and where it would write otherwise."""

    passes: list[CleanPass]
    disagreements: Disagreements


class _Ground(NamedTuple):
    """What vectors are fitted and measured on, read once for all trainings."""

    host: Host
    kinds: Kinds
    openings: Openings | None
    train_on: _Half
    held_out: _Half

    @classmethod
    def of(cls, host: Host, rollouts: Sequence[Rollout], kinds: Kinds, config: VectorConfig) -> _Ground:
        check_type(host, Host, name="host", allowed="a host, such as pair.base")
        check_part(kinds, Kinds, name="kinds")
        rollouts = as_sequence(rollouts, Rollout, name="rollouts", allowed="rollouts of the thinking model")
        openings = Openings(with_ends(kinds, host.eos_ids), host.vocab_size) if config.by == "kind" else None
        halves = []
        for half in _split(as_read_by(host, rollouts), config.held_out):
            passes = list(clean_passes(host, half, batch_size=config.batch_rollouts, openings=openings))
            halves.append(_Half(passes, find_disagreements(passes, half, kinds)))
        return cls(host, kinds, openings, *halves)

    def train(self, site: Site, config: VectorConfig, *, progress: bool) -> TrainedVectors:
        host, names = self.host, self.kinds.names
        counts = torch.bincount(self.train_on.disagreements.category, minlength=len(names))
        table = torch.zeros(
            len(names), host.d_model, device=host.device, dtype=torch.float32, requires_grad=True
        )
        steering = _Steering(host, site, table, self.openings)
        _optimise(steering, *self.train_on, config, progress)
        if not bool(torch.isfinite(table).all()):
            raise NonFiniteError(
                f"category vectors at {site} diverged", do=f"lower the learning rate (now {config.lr})"
            )
        vectors = Vectors(host, site, table=table.detach(), trained=counts >= config.min_count)
        return TrainedVectors(
            vectors,
            _agreement(steering._replace(table=vectors.table), *self.held_out),
            self.held_out.disagreements.rate,
            dict(zip(names, counts.tolist(), strict=True)),
        )


def _split(rollouts: Sequence[Rollout], held_out: float) -> tuple[list[Rollout], list[Rollout]]:
    """Rollouts to fit on and rollouts held out, by problem."""
    problems = list(dict.fromkeys(r.problem.id for r in rollouts))
    n = max(1, round(held_out * len(problems)))
    if len(problems) < 2:
        raise DataError(f"{len(problems)} problem to train category vectors on", allowed="2 or more")
    first = set(problems[:n])
    return [r for r in rollouts if r.problem.id not in first], [r for r in rollouts if r.problem.id in first]


def _optimise(
    steering: _Steering,
    passes: Sequence[CleanPass],
    disagreements: Disagreements,
    config: VectorConfig,
    progress: bool,
) -> None:
    """Adam on the mean cross-entropy; only the table moves."""
    table = steering.table
    optimizer = torch.optim.Adam([table], lr=config.lr)
    generator = torch.Generator().manual_seed(config.seed)
    order: list[int] = []
    for _ in (bar := tqdm(range(config.steps), desc="category vectors", disable=not progress, delay=1.0)):
        order = order or torch.randperm(len(passes), generator=generator).tolist()
        clean = passes[order.pop()]
        rows = disagreements.rows_in(clean)
        if len(rows) == 0:
            continue
        rows = rows[torch.randperm(len(rows), generator=generator)[: config.max_rows]]
        loss = steering.loss(clean, disagreements, rows)
        # not backward(): it would leave gradients on every parameter of the host
        (table.grad,) = torch.autograd.grad(loss, [table])
        optimizer.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}")


@torch.no_grad()
def _agreement(steering: _Steering, passes: Sequence[CleanPass], disagreements: Disagreements) -> float:
    """Share of the disagreements at which the steered base agrees with the thinking model."""
    hits = 0
    for clean in passes:
        rows = disagreements.rows_in(clean)
        if len(rows):
            hits += int(steering.agrees(clean, disagreements, rows).sum())
    return hits / len(disagreements)
