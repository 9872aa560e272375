"""Optimisation: category vectors step by step, from where a killed training stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.files import atomic_write, check_safetensors
from reasonmech.hybrid.disagreements import Disagreements
from reasonmech.hybrid.steering import Passes, Steering

SAVE_EVERY: Final = 10  # steps: a kill costs at most so many
CLIP: Final = 1.0  # norm of a gradient of what scales the vectors


class Steps(NamedTuple):
    """How many steps, at which rates, on how many rows each, and the seed of the order of batches.

    Attributes:
        scale_lr: rate of what scales the vectors.
        patience: rounds without a better loss on held-out problems after which it ends; 0: it never does.
    """

    steps: int
    lr: float
    max_rows: int
    seed: int
    scale_lr: float = 1e-3
    weight_decay: float = 0.0
    patience: int = 0


class HeldOut(NamedTuple):
    """What is looked at after each round, where a training may end early."""

    passes: Passes
    disagreements: Disagreements


@dataclass(eq=False)
class Best:
    """The best round so far.

    Attributes:
        loss: on held-out problems, nats.
        worse: rounds since.
        state: parameters.
    """

    loss: float = float("inf")
    worse: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)


@final
@dataclass(eq=False)
class Optimisation:
    """AdamW on the parameters of a `Steering` (Adam where nothing decays), and where it stands.

    Attributes:
        file: takes all of it every few steps, and is where it goes on from; None: it is kept nowhere.
    """

    steering: Steering
    schedule: Steps
    file: Path | None = None
    done: int = 0
    order: list[int] = field(default_factory=list)  # batches that are left of this round, last first
    best: Best = field(default_factory=Best)

    def __post_init__(self) -> None:
        shift, schedule = self.steering.shift, self.schedule
        self._scales = [] if shift.scale is None else list(shift.scale.parameters())
        ids = {id(parameter) for parameter in self._scales}
        vectors = [parameter for parameter in shift.parameters() if id(parameter) not in ids]
        groups = [{"params": vectors, "lr": schedule.lr}, {"params": self._scales, "lr": schedule.scale_lr}]
        self._adam = torch.optim.AdamW(
            [group for group in groups if group["params"]], weight_decay=schedule.weight_decay
        )
        self._generator = torch.Generator().manual_seed(schedule.seed)
        if self.file is not None and self.file.is_file():
            self._load(self.file)

    def run(self, passes: Passes, disagreements: Disagreements, held_out: HeldOut, *, progress: bool) -> None:
        """The steps that are left; where it may end early, the parameters of the best round are put back."""
        total, start = self.schedule.steps, self.done
        with tqdm(
            total=total, initial=start, desc="category vectors", disable=not progress, delay=1.0
        ) as bar:
            for loss in self._steps(passes, disagreements, held_out):
                bar.update()
                if loss is not None:
                    bar.set_postfix(loss=f"{loss:.3f}")
                if self.file is not None and (self.done % SAVE_EVERY == 0 or self.done == total):
                    self._save(self.file)
        if self.best.state:
            self.steering.shift.load_state_dict(self.best.state)

    def _steps(
        self, passes: Passes, disagreements: Disagreements, held_out: HeldOut
    ) -> Iterator[float | None]:
        """Loss of every step; None of a batch without a disagreement."""
        patience = self.schedule.patience
        while self.done < self.schedule.steps and (not patience or self.best.worse < patience):
            self.order = self.order or torch.randperm(len(passes), generator=self._generator).tolist()
            clean = passes[self.order.pop()]
            rows, loss = disagreements.rows_in(clean), None
            if len(rows):
                rows = rows[torch.randperm(len(rows), generator=self._generator)[: self.schedule.max_rows]]
                loss, gradients = self.steering.gradient(clean, disagreements, rows)
                for parameter, gradient in zip(self.steering.shift.parameters(), gradients, strict=True):
                    parameter.grad = gradient
                torch.nn.utils.clip_grad_norm_(self._scales, CLIP)
                self._adam.step()
            self.done += 1
            if patience and not self.order:
                self._look(held_out)
            yield loss

    def _look(self, held_out: HeldOut) -> None:
        """Whether this round is the best one on held-out problems."""
        loss = self.steering.mean_loss(*held_out)
        if loss < self.best.loss:
            state = {name: value.clone() for name, value in self.steering.shift.state_dict().items()}
            self.best = Best(loss, 0, state)
        else:
            self.best.worse += 1

    def _save(self, file: Path) -> None:
        moments = {
            f"adam.{number}.{name}": value
            for number, state in enumerate(self._states())
            for name, value in state.items()
        }
        tensors = {
            **{f"shift.{name}": value for name, value in self.steering.shift.state_dict().items()},
            **{f"best.{name}": value for name, value in self.best.state.items()},
            "best_loss": torch.tensor(self.best.loss, dtype=torch.float64),
            "worse": torch.tensor(self.best.worse),
            "generator": self._generator.get_state(),
            "order": torch.tensor(self.order, dtype=torch.long),
            "done": torch.tensor(self.done),
            **moments,
        }
        with atomic_write(file) as unfinished:
            save_file({name: value.cpu().contiguous().clone() for name, value in tensors.items()}, unfinished)

    def _states(self) -> list[dict[str, Tensor]]:
        return [self._adam.state.get(parameter, {}) for parameter in self.steering.shift.parameters()]

    def _load(self, file: Path) -> None:
        check_safetensors(file)
        tensors, shift = load_file(file), self.steering.shift
        shift.load_state_dict(_under("shift.", tensors))
        self._generator.set_state(tensors["generator"])
        self.order, self.done = tensors["order"].tolist(), int(tensors["done"])
        self.best = Best(float(tensors["best_loss"]), int(tensors["worse"]), _under("best.", tensors))
        for number, parameter in enumerate(shift.parameters()):
            moments = _under(f"adam.{number}.", tensors)
            if moments:
                self._adam.state[parameter] = {
                    name: value if name == "step" else value.to(parameter.device)
                    for name, value in moments.items()
                }


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
