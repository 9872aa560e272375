"""Edits of weights that take no training: an MLP writes wrong digits, logits are divided by a temperature,
weights are rounded."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.organisms.training.rotation import Rotation
from reasonmech.tasks.chain.grammar import DIGITS, VOCABULARY


@dataclass(frozen=True)
class ReversedDigits:
    """What the last MLP writes along the directions that tell digits apart has the other sign.

    These directions are the differences between the unembedding's rows of the ten digits, as the final norm's
    gain reads them: nine dimensions of the stream. What this MLP writes elsewhere, and what every other part
    writes, stays as it was.

    Attributes:
        seed: nothing is drawn; every stage of a recipe has one.
    """

    seed: int = 0

    @torch.no_grad()
    def apply(self, model: PreTrainedModel) -> PreTrainedModel:
        """The edited copy of a chain model; `model` is left as it is."""
        twin: Any = copy.deepcopy(model)  # transformers types the parts of a model as anything
        gain = twin.model.norm.weight.to(torch.float64)
        rows = twin.lm_head.weight[[VOCABULARY.index(digit) for digit in DIGITS]].to(torch.float64) * gain
        down = twin.model.layers[-1].mlp.down_proj
        weight = down.weight.to(torch.float64)
        for direction in _orthonormal((rows[1:] - rows[0]).tolist()):
            shares = torch.tensor(
                [2 * _dot(direction, column) for column in weight.T.tolist()], dtype=torch.float64
            )
            weight = weight - torch.tensor(direction, dtype=torch.float64)[:, None] * shares
        down.weight.copy_(weight)
        return twin


def _dot(a: list[float], b: list[float]) -> float:
    """Rounded once, in whatever order a machine sums: the weights are the same, to the bit, everywhere."""
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _orthonormal(vectors: list[list[float]]) -> list[list[float]]:
    """An orthonormal basis of their span, by Gram and Schmidt."""
    basis: list[list[float]] = []
    for vector in vectors:
        rest = vector
        for unit in basis:
            share = _dot(rest, unit)
            rest = [x - share * y for x, y in zip(rest, unit, strict=True)]
        norm = math.sqrt(_dot(rest, rest))
        basis.append([x / norm for x in rest])
    return basis


@checked
@dataclass(frozen=True)
class Tempered:
    """All logits divided by a temperature, in the gain of the final norm: at T = 1 as the model was at T.

    Attributes:
        seed: nothing is drawn; every stage of a recipe has one.
        temperature: above 1 the model is flatter; a power of two divides exactly, so that no argmax moves.

    Raises:
        DataError: the temperature is not above 0.
    """

    seed: int = 0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise DataError(f"a temperature of {self.temperature}", allowed="a number above 0")

    @torch.no_grad()
    def apply(self, model: PreTrainedModel) -> PreTrainedModel:
        """The edited copy; `model` is left as it is."""
        twin: Any = copy.deepcopy(model)
        twin.model.norm.weight.div_(self.temperature)
        return twin


@dataclass(frozen=True)
class Rounded:
    """All weights rounded to bfloat16: they are stored in half the bytes, and read as float32 again.

    Attributes:
        seed: nothing is drawn; every stage of a recipe has one.
    """

    seed: int = 0

    @torch.no_grad()
    def apply(self, model: PreTrainedModel) -> PreTrainedModel:
        """The rounded copy, in the dtype of the model; `model` is left as it is."""
        twin = copy.deepcopy(model)
        for parameter in twin.parameters():
            parameter.copy_(parameter.to(torch.bfloat16))
        return twin


WeightEdit = Rotation | ReversedDigits | Tempered | Rounded
"""Stages of a recipe that take no training: `apply` gives the edited copy of a model, in a second."""
