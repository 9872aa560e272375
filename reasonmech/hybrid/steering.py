"""Steering: category vectors while they are fitted, step by step, from where a killed training stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol, final

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from reasonmech.files import atomic_write, check_safetensors
from reasonmech.hosts import Host
from reasonmech.hybrid.disagreements import Disagreements, SteeredPass
from reasonmech.kinds import Openings
from reasonmech.shapes import NextLogits
from reasonmech.site import Site

ROW_BYTES: Final = 2**29  # of keys, values and logits of the positions that are steered at once
LOGITS_PER_ROW: Final = 4  # logits, their float32, log-softmax and gradient
SAVE_EVERY: Final = 10  # steps: a kill costs at most so many


class Passes(Protocol):
    """Batches of rollouts."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> SteeredPass: ...


class Steering(NamedTuple):
    """Where category vectors act, and what they are while they are fitted: [category, d_model], float32."""

    host: Host
    site: Site
    table: Float[Tensor, "category d_model"]
    openings: Openings | None = None  # where kinds are compared

    def loss(self, clean: SteeredPass, disagreements: Disagreements, rows: Int[Tensor, " row"]) -> Tensor:
        """Mean of -log P(the thinking model's token, or a first word of its kind), in nats."""
        logits = self.logits(clean, disagreements, rows).float()
        if self.openings is None:
            return cross_entropy(logits, disagreements.target[rows].to(logits.device))
        column = self.openings.columns(disagreements.category[rows]).to(logits.device)
        return cross_entropy(self.openings.of_kinds(logits), column)

    def gradient(
        self, clean: SteeredPass, disagreements: Disagreements, rows: Int[Tensor, " row"]
    ) -> tuple[float, Tensor]:
        """The loss, and its gradient by the table; of so many rows at a time as memory is meant for."""
        total, gradient = 0.0, torch.zeros_like(self.table)
        for part in rows.split(self._at_once(clean)):
            loss = self.loss(clean, disagreements, part) * (len(part) / len(rows))
            # not backward(): it would leave gradients on every parameter of the host
            (of_part,) = torch.autograd.grad(loss, [self.table])
            total, gradient = total + float(loss.detach()), gradient + of_part
        return total, gradient

    @torch.no_grad()
    def agrees(
        self, clean: SteeredPass, disagreements: Disagreements, rows: Int[Tensor, " row"]
    ) -> Bool[Tensor, " row"]:
        """Whether the steered base's likeliest token, or kind, is the thinking model's."""
        return torch.cat(
            [self._agrees(clean, disagreements, part) for part in rows.split(self._at_once(clean))]
        )

    def _agrees(self, clean: SteeredPass, disagreements: Disagreements, rows: Tensor) -> Tensor:
        logits = self.logits(clean, disagreements, rows)
        if self.openings is None:
            return logits.argmax(-1).cpu() == disagreements.target[rows]
        return self.openings.likeliest(logits).cpu() == disagreements.category[rows]

    def logits(self, clean: SteeredPass, disagreements: Disagreements, rows: Tensor) -> NextLogits:
        """Next-token logits at these disagreements, each steered by the vector of its category."""
        added = self.table[disagreements.category[rows].to(self.table.device)]
        rollout, position = disagreements.rollout[rows], disagreements.position[rows]
        return clean.steered(self.host, self.site, rollout, position, lambda x: x + added.to(x))

    def _at_once(self, clean: SteeredPass) -> int:
        logits = LOGITS_PER_ROW * 4 * self.host.vocab_size
        return max(1, ROW_BYTES // (clean.row_bytes() + logits))


class Steps(NamedTuple):
    """How many steps, at which rate, on how many rows each, and the seed of the order of batches."""

    steps: int
    lr: float
    max_rows: int
    seed: int


@final
@dataclass(eq=False)
class Optimisation:
    """Adam on the table of a `Steering`, and where it stands.

    Attributes:
        file: takes all of it every few steps, and is where it goes on from; None: it is kept nowhere.
    """

    steering: Steering
    schedule: Steps
    file: Path | None = None
    done: int = 0
    order: list[int] = field(default_factory=list)  # batches that are left of this round, last first

    def __post_init__(self) -> None:
        self._adam = torch.optim.Adam([self.steering.table], lr=self.schedule.lr)
        self._generator = torch.Generator().manual_seed(self.schedule.seed)
        if self.file is not None and self.file.is_file():
            self._load(self.file)

    def run(self, passes: Passes, disagreements: Disagreements, *, progress: bool) -> None:
        """The steps that are left."""
        total, start = self.schedule.steps, self.done
        with tqdm(
            total=total, initial=start, desc="category vectors", disable=not progress, delay=1.0
        ) as bar:
            for loss in self._steps(passes, disagreements):
                bar.update()
                if loss is not None:
                    bar.set_postfix(loss=f"{loss:.3f}")
                if self.file is not None and (self.done % SAVE_EVERY == 0 or self.done == total):
                    self._save(self.file)

    def _steps(self, passes: Passes, disagreements: Disagreements) -> Iterator[float | None]:
        """Loss of every step; None of a batch without a disagreement."""
        while self.done < self.schedule.steps:
            self.order = self.order or torch.randperm(len(passes), generator=self._generator).tolist()
            clean = passes[self.order.pop()]
            rows, loss = disagreements.rows_in(clean), None
            if len(rows):
                rows = rows[torch.randperm(len(rows), generator=self._generator)[: self.schedule.max_rows]]
                loss, self.steering.table.grad = self.steering.gradient(clean, disagreements, rows)
                self._adam.step()
            self.done += 1
            yield loss

    def _save(self, file: Path) -> None:
        moments = self._adam.state.get(self.steering.table, {})
        tensors = {
            "table": self.steering.table.detach(),
            "generator": self._generator.get_state(),
            "order": torch.tensor(self.order, dtype=torch.long),
            "done": torch.tensor(self.done),
            **{f"adam.{name}": value for name, value in moments.items()},
        }
        with atomic_write(file) as unfinished:
            save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, unfinished)

    def _load(self, file: Path) -> None:
        check_safetensors(file)
        tensors = load_file(file)
        table = self.steering.table
        with torch.no_grad():
            table.copy_(tensors["table"])
        self._generator.set_state(tensors["generator"])
        self.order, self.done = tensors["order"].tolist(), int(tensors["done"])
        moments = {
            name.removeprefix("adam."): value if name == "adam.step" else value.to(table.device)
            for name, value in tensors.items()
            if name.startswith("adam.")
        }
        if moments:
            self._adam.state[table] = moments


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
