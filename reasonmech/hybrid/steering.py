"""Steering: category vectors while they are fitted: their loss, their gradient, how often they agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from reasonmech.hosts import Host
from reasonmech.hybrid.disagreements import Disagreements, SteeredPass
from reasonmech.hybrid.leaking import leaking_logits
from reasonmech.hybrid.vector_forms import VectorForm
from reasonmech.kinds import Openings
from reasonmech.shapes import NextLogits
from reasonmech.site import Site

LEAKING_TOKENS: Final = 2**12  # of texts that are steered in one pass, all of whose activations are kept
ROW_BYTES: Final = 2**29  # of keys, values and logits of the positions that are steered at once
LOGITS_PER_ROW: Final = 4  # logits, their float32, log-softmax and gradient


class Passes(Protocol):
    """Batches of rollouts."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> SteeredPass: ...


class Steering(NamedTuple):
    """Where category vectors act, and what they are while they are fitted.

    Attributes:
        openings: first tokens of kinds, where kinds are compared.
        balanced: whether every category weighs the same in a step, however often it occurs.
        leaking: whether all positions of a text are steered in one pass (`leaking_logits`).
    """

    host: Host
    site: Site
    shift: VectorForm
    openings: Openings | None = None
    balanced: bool = False
    leaking: bool = False

    def losses(
        self, clean: SteeredPass, disagreements: Disagreements, rows: Int[Tensor, " row"]
    ) -> Float[Tensor, " row"]:
        """-log P(the thinking model's token, or a first word of its kind), in nats, of every row."""
        logits = self.logits(clean, disagreements, rows).float()
        if self.openings is None:
            target = disagreements.target[rows].to(logits.device)
            return cross_entropy(logits, target, reduction="none")
        column = self.openings.columns(disagreements.category[rows]).to(logits.device)
        return cross_entropy(self.openings.of_kinds(logits), column, reduction="none")

    def gradient(
        self, clean: SteeredPass, disagreements: Disagreements, rows: Int[Tensor, " row"]
    ) -> tuple[float, list[Tensor]]:
        """The loss, and its gradient by each parameter; of so many rows at a time as memory is meant for."""
        parameters = list(self.shift.parameters())
        total, gradients = 0.0, [torch.zeros_like(parameter) for parameter in parameters]
        weights = self._weights(disagreements, rows)
        for part in self._parts(clean, disagreements, rows):
            losses = self.losses(clean, disagreements, rows[part])
            loss = (losses * weights[part].to(losses)).sum()
            # not backward(): it would leave gradients on every parameter of the host
            of_part = torch.autograd.grad(loss, parameters)
            total += float(loss.detach())
            gradients = [whole + part for whole, part in zip(gradients, of_part, strict=True)]
        return total, gradients

    def _weights(self, disagreements: Disagreements, rows: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
        """What each row weighs; they add up to 1."""
        if not self.balanced:
            return torch.full((len(rows),), 1.0 / len(rows), dtype=torch.float32)
        category = disagreements.category[rows]
        counts = torch.bincount(category)
        return (counts[category] * (counts > 0).sum()).float().reciprocal()

    @torch.no_grad()
    def agrees(
        self, clean: SteeredPass, disagreements: Disagreements, rows: Int[Tensor, " row"]
    ) -> Bool[Tensor, " row"]:
        """Whether the steered base's likeliest token, or kind, is the thinking model's."""
        isolated = self._replace(leaking=False)  # as it decodes
        parts = isolated._parts(clean, disagreements, rows)
        return torch.cat([isolated._agrees(clean, disagreements, rows[part]) for part in parts])

    def _agrees(self, clean: SteeredPass, disagreements: Disagreements, rows: Tensor) -> Tensor:
        logits = self.logits(clean, disagreements, rows)
        if self.openings is None:
            return logits.argmax(-1).cpu() == disagreements.target[rows]
        return self.openings.likeliest(logits).cpu() == disagreements.category[rows]

    def logits(self, clean: SteeredPass, disagreements: Disagreements, rows: Tensor) -> NextLogits:
        """Next-token logits at these disagreements, each steered by the vector of its category."""
        category = disagreements.category[rows]
        rollout, position = disagreements.rollout[rows], disagreements.position[rows]

        def edit(x: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch d_model"]:
            return x + self.shift(x, category).to(x)

        if self.leaking:
            texts, row = (rollout - clean.first).unique(return_inverse=True)
            ids = clean.ids[texts.to(clean.ids.device)]
            return leaking_logits(self.host, self.site, ids, (row, position), edit)
        return clean.steered(self.host, self.site, rollout, position, edit)

    @torch.no_grad()
    def mean_loss(self, passes: Passes, disagreements: Disagreements) -> float:
        """Mean over all disagreements of passes [nats], position by position, as it decodes."""
        isolated, total = self._replace(leaking=False), 0.0
        for number in range(len(passes)):
            clean = passes[number]
            rows = disagreements.rows_in(clean)
            for part in isolated._parts(clean, disagreements, rows):
                total += float(isolated.losses(clean, disagreements, rows[part]).sum())
        return total / len(disagreements)

    def _parts(
        self, clean: SteeredPass, disagreements: Disagreements, rows: Int[Tensor, " row"]
    ) -> Iterator[Int[Tensor, " part"]]:
        """Places in `rows` of those that are steered at once: of a text together where keys leak."""
        if not len(rows):
            return
        if self.leaking:
            text = disagreements.rollout[rows]
            for few in text.unique().split(max(1, LEAKING_TOKENS // clean.ids.shape[1])):
                yield torch.isin(text, few).nonzero()[:, 0]
            return
        logits = LOGITS_PER_ROW * 4 * self.host.vocab_size
        yield from torch.arange(len(rows)).split(max(1, ROW_BYTES // (clean.row_bytes() + logits)))


@torch.no_grad()
def agreement(steering: Steering, passes: Passes, disagreements: Disagreements) -> float:
    """Share of the disagreements at which the steered base agrees with the thinking model."""
    hits = 0
    for number in range(len(passes)):
        clean = passes[number]
        rows = disagreements.rows_in(clean)
        if len(rows):
            hits += int(steering.agrees(clean, disagreements, rows).sum())
    return hits / len(disagreements)
