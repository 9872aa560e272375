"""Decode: how tokens are chosen, and the choice itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from reasonmech.runtime.decoding.noise import gumbel
from reasonmech.shapes import NextLogits


class Decode(BaseModel):
    """How tokens are chosen. At temperature 0 the likeliest token, else an exact sample with noise keyed by
    the row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(
        default=128, ge=1, description="tokens after which a row is cut off (stop 'length')"
    )
    temperature: float = Field(default=0.0, ge=0.0, description="softmax temperature; 0 is greedy")
    seed: int = Field(default=0, description="of the sampling noise, shared by all arms")
    samples: int = Field(default=1, ge=1, description="rollouts per problem")
    batch_size: int = Field(
        default=128, ge=1, description="rows decoded together; changes speed, never results"
    )
    stop_tokens: tuple[int, ...] = Field(
        default=(), description="token ids that end a row, besides end-of-sequence"
    )


class Choice(NamedTuple):
    """Chosen tokens, and the score of each (NaN when any logit of its row is)."""

    tokens: Int[Tensor, " batch"]
    scores: Float[Tensor, " batch"]


def choose(
    logits: NextLogits, *, temperature: float, keys: Int[Tensor, " batch"], position: Int[Tensor, " batch"]
) -> Choice:
    """argmax(logits) at temperature 0, else argmax(logits / T + gumbel(key, position))."""
    scores = logits.float()
    if temperature > 0:
        noise = gumbel(keys.to(scores.device), position.to(scores.device), scores.shape[-1])
        scores = torch.add(noise, scores, alpha=1 / temperature)
    best = scores.max(dim=-1)
    return Choice(best.indices, best.values)
