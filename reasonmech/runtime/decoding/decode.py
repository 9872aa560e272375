"""Decode: how tokens are chosen, and the choice itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_serializer, model_validator
from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.errors import ArgumentError, DataError
from reasonmech.hosts.host import Host
from reasonmech.ranges import Id, Seed
from reasonmech.runtime.decoding.noise import gumbel
from reasonmech.runtime.decoding.truncation import Truncation
from reasonmech.settings import Settings
from reasonmech.shapes import NextLogits

ADDED_LATER: Final = ("stop_strings", "top_k", "top_p", "min_p", "repetition_penalty", "compile")
DRAWING: Final = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
FOLLOWED: Final = ("do_sample", *DRAWING)
"""Settings of a generation config that `Decode.as_published` takes."""


ALL: Final = Truncation()
_IN_CACHE: Final = 2**16  # numbers of noise drawn at once on a CPU


class Decode(Settings):
    """How tokens are chosen. At temperature 0 the likeliest token, else an exact sample, with noise keyed by
    the row, of the distribution: all of it, or what top_k, top_p and min_p leave of it.

    What a model's generation config says of them (`host.sampling`) is not applied unless `as_published` asks
    for it.
    """

    max_new_tokens: int = Field(
        default=128, ge=1, description="tokens after which a row is cut off (stop 'length')"
    )
    temperature: float = Field(default=0.0, ge=0.0, description="softmax temperature; 0 is greedy")
    top_k: int = Field(default=0, ge=0, description="draw among that many likeliest tokens; 0: among all")
    top_p: float = Field(
        default=1.0, gt=0.0, le=1.0, description="draw among the fewest tokens with that probability together"
    )
    min_p: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="draw among tokens with that share of the likeliest one's probability",
    )
    repetition_penalty: float = Field(
        default=1.0,
        gt=0.0,
        description="divides logits of tokens that stand in prompt or answer; 1: none",
    )
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

    compile: bool = Field(
        default=False,
        description="read new tokens by a step that torch.compile makes of the model, once per model, number "
        "of rows and length (by 64 tokens): a minute at first, then faster; a token may differ where two are "
        "nearly as likely",
    )

    @model_serializer(mode="wrap")
    def _leave_out_unused(self, serialise: Callable[[object], dict[str, object]]) -> dict[str, object]:
        """Settings that came later are left out where unused: records made before them stay the same."""
        values: dict[str, object] = serialise(self)
        unused = {name for name in ADDED_LATER if vars(self)[name] == type(self).model_fields[name].default}
        return {name: value for name, value in values.items() if name not in unused}

    @model_validator(mode="after")
    def _check(self) -> Decode:
        if self.temperature == 0 and self.truncation.cuts:
            cutting = [name for name in ("top_k", "top_p", "min_p") if name in self.model_fields_set]
            raise ValueError(
                f"{', '.join(cutting)} at temperature 0, which takes the likeliest token: give a temperature"
            )
        return self

    @property
    def truncation(self) -> Truncation:
        """Which tokens may be drawn."""
        return Truncation(self.top_k, self.top_p, self.min_p)

    def as_published(self, host: Host) -> Decode:
        """The same, drawn as the model's generation config says: `host.sampling`, which it shows.

        Raises:
            ArgumentError: no host, or settings of this one that it would replace.
            DataError: the generation config asks for what is not done here (beams, n-grams), or for nothing.
        """
        check_type(host, Host, name="host", allowed="a host, such as pair.thinking")
        published = host.sampling
        if beyond := sorted(published.keys() - set(FOLLOWED)):
            raise DataError(
                f"the generation config of {host.name!r} says {beyond[0]} = {published[beyond[0]]!r}",
                allowed=", ".join(FOLLOWED),
                do=f"write the settings that are meant: Decode(...); it says {published}",
            )
        if not published:
            raise DataError(
                f"the generation config of {host.name!r} says nothing of how tokens are drawn",
                do="write the settings that are meant: Decode(temperature=...)",
            )
        drawn = published.get("do_sample", False)
        read = {name: published[name] for name in DRAWING[1:] if drawn and name in published}
        if "repetition_penalty" in published:
            read["repetition_penalty"] = published["repetition_penalty"]
        read["temperature"] = float(published.get("temperature", 1.0)) if drawn else 0.0
        if twice := sorted(set(read) & self.model_fields_set):
            raise ArgumentError(
                f"{', '.join(twice)} is said twice: here and by the generation config of {host.name!r}",
                allowed=f"one of the two; it says {published}",
                do="leave it out here, or do without as_published",
            )
        return self.model_copy(update=read)


class Choice(NamedTuple):
    """Chosen tokens, and the score of each (NaN when any logit of its row is)."""

    tokens: Int[Tensor, " batch"]
    scores: Float[Tensor, " batch"]


def choose(
    logits: NextLogits,
    *,
    temperature: float,
    keys: Int[Tensor, " batch"],
    position: Int[Tensor, " batch"],
    truncation: Truncation = ALL,
) -> Choice:
    """argmax(logits) at temperature 0, else argmax(logits / T + gumbel(key, position)) over what is kept.

    The noise of a token is the same whatever is kept: an exact sample of what is left, renormalised, and the
    same token wherever the one drawn from all of them is among those.
    """
    scores = logits  # of half precision too: the largest is the same, and nothing is copied
    if temperature > 0:
        scores = logits.float()
        if truncation.cuts:
            scores = scores.masked_fill(~truncation.kept(scores / temperature), -torch.inf)
        return _drawn(scores, temperature, keys.to(scores.device), position.to(scores.device))
    best = scores.max(dim=-1)
    return Choice(best.indices, best.values)


def _drawn(
    scores: NextLogits, temperature: float, keys: Int[Tensor, " batch"], position: Int[Tensor, " batch"]
) -> Choice:
    """The token of the largest score with its noise; on a CPU row by row, whose numbers stay in its cache."""
    vocab = scores.shape[-1]
    at_once = max(1, _IN_CACHE // vocab) if scores.device.type == "cpu" else max(1, len(scores))
    tokens, best = torch.empty_like(keys), scores.new_empty(len(scores))
    for start in range(0, len(scores), at_once):
        rows = slice(start, start + at_once)
        noise = gumbel(keys[rows], position[rows], vocab)
        best[rows], tokens[rows] = noise.add_(scores[rows], alpha=1 / temperature).max(dim=-1)
    return Choice(tokens, best)
