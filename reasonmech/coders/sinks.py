"""Sinks: tokens whose stream is so long that they alone would make every mean, norm and variance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.door import checked

FIRST: Final = (
    4.0  # medians: where half of the first tokens are longer, they are sinks, and all that is longer
)
FAR: Final = 20.0  # medians: elsewhere; the longest token of the organisms, which have no sink, has 15
CHUNK: Final = 8192  # tokens read at once


@final
@dataclass(frozen=True)
class Sinks:
    """Which tokens of some text are attention sinks at one site.

    Language models park attention on a few tokens, mostly the first one, whose stream is then up to two
    hundred times as long as that of others (massive activations: Sun et al. 2024, arXiv 2402.17762). In a
    sum of squares one of them outweighs all the rest of its text.

    Attributes:
        limit: norm beyond which a token is one; infinite where there is none.
        first: whether the first token of every text is one, whatever its norm.
        n_tokens, n_sinks: tokens looked at, and how many of them are sinks.
        variance_share: their part of sum ||x - mean||^2 over all tokens looked at.
    """

    limit: float
    first: bool
    n_tokens: int
    n_sinks: int
    variance_share: float

    def mask(
        self, norm: Float[Tensor, "*token"], position: Int[Tensor, "*token"] | None = None
    ) -> Bool[Tensor, "*token"]:
        """Which tokens are sinks, by their norm and, where it is known, their position in their text."""
        beyond = norm > self.limit
        return beyond if position is None or not self.first else beyond | (position == 0)

    def to_json(self) -> dict[str, Any]:
        """JSON values only: the limit is None where there is no sink."""
        return asdict(self) | {"limit": self.limit if self.n_sinks else None}

    def __str__(self) -> str:
        share = f"{self.variance_share:.1%} of the variance"
        return f"{self.n_sinks} of {self.n_tokens} tokens are attention sinks ({share})"


@checked
def no_sinks(n_tokens: int) -> Sinks:
    """Where every token counts."""
    return Sinks(float("inf"), first=False, n_tokens=n_tokens, n_sinks=0, variance_share=0.0)


@torch.no_grad()
@checked
def find_sinks(
    read: Callable[[Int[Tensor, " n"]], Float[Tensor, "n d_model"]],
    n_tokens: int,
    position: Int[Tensor, " token"] | None = None,
) -> Sinks:
    """Sinks among some tokens of a site, found from their norms alone.

    Where positions are known and at least half of the first tokens are longer than 4 medians of the others,
    all first tokens are sinks, and so is every other token beyond 4 medians. Where not, those are that are
    longer than 20 medians. A model of which neither holds has no sinks, and nothing is left out.

    Args:
        read: activations of some of them, by their numbers; called with chunks.
        position: of each in its text. None: not known.
    """
    if not n_tokens:
        return no_sinks(0)
    norms: list[Tensor] = []
    total = torch.zeros(())
    for rows in torch.arange(n_tokens).split(CHUNK):
        x = read(rows).cpu()
        norms.append(x.float().norm(dim=-1))
        total = total + x.double().sum(0)
    norm, mean = torch.cat(norms), total / n_tokens
    limit = None if position is None else _limit_by_first_tokens(norm, position)
    limit, first = (FAR * norm.median().item(), False) if limit is None else (limit, True)
    which = Sinks(limit, first, n_tokens, 0, 0.0).mask(norm, position).nonzero().flatten()
    if limit == 0 or not len(which):
        return no_sinks(n_tokens)
    of_all = norm.double().pow(2).sum().item() - n_tokens * mean.pow(2).sum().item()
    of_sinks = sum((read(rows).cpu().double() - mean).pow(2).sum().item() for rows in which.split(CHUNK))
    return Sinks(limit, first, n_tokens, len(which), min(1.0, of_sinks / of_all))


def _limit_by_first_tokens(norm: Tensor, position: Tensor) -> float | None:
    """The limit where first tokens are sinks; None where they are not, or there is nothing to compare."""
    is_first = position == 0
    if not bool(is_first.any()) or bool(is_first.all()):
        return None
    limit = FIRST * norm[~is_first].median().item()
    return limit if limit > 0 and 2 * int((norm[is_first] > limit).sum()) >= int(is_first.sum()) else None
