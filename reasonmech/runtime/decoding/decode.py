"""Decode: how tokens are chosen, and the choice itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_serializer
from torch import Tensor

from reasonmech.ranges import Id, Seed
from reasonmech.runtime.decoding.noise import gumbel
from reasonmech.settings import Settings
from reasonmech.shapes import NextLogits

ADDED_LATER: Final = ("stop_strings",)


class Decode(Settings):
    """How tokens are chosen. At temperature 0 the likeliest token, else an exact sample of the whole
    distribution with noise keyed by the row.

    There is no top_p, top_k, min_p or repetition penalty, and what a model's generation config says of them
    is not applied: `host.sampling` lists it.
    """

    max_new_tokens: int = Field(
        default=128, ge=1, description="tokens after which a row is cut off (stop 'length')"
    )
    temperature: float = Field(default=0.0, ge=0.0, description="softmax temperature; 0 is greedy")
    seed: Seed = Field(default=0, description="of the sampling noise, shared by all arms")
    samples: int = Field(default=1, ge=1, description="rollouts per problem")
    batch_size: int = Field(
        default=128,
        ge=1,
        description="rows decoded together; changes speed, and in float32 no token. In bfloat16 and float16 "
        "a kernel may round otherwise for another batch, and a token differ where two are nearly as likely",
    )
    stop_tokens: tuple[Id, ...] = Field(
        default=(), description="token ids that end a row, besides end-of-sequence"
    )
    stop_strings: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="texts that end a row when it has written them, across borders of tokens; the token that "
        "completes one is kept whole",
    )

    @model_serializer(mode="wrap")
    def _leave_out_unused(self, serialise: Callable[[object], dict[str, object]]) -> dict[str, object]:
        """Settings that came later are left out where unused: records made before them stay the same."""
        values: dict[str, object] = serialise(self)
        return {name: value for name, value in values.items() if value or name not in ADDED_LATER}


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
