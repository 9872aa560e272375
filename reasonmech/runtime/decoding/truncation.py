"""Truncation: which tokens may be drawn at all, and a penalty for those that stand in the text, as in
Hugging Face's logits processors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@final
@dataclass(frozen=True)
class Truncation:
    """The tokens that are left of a distribution: those of the k largest logits, of them the fewest whose
    probability comes to `top_p`, of them those with at least `min_p` times the likeliest one's.

    The order, and what ties are worth, are Hugging Face's (`TopKLogitsWarper`, `TopPLogitsWarper`,
    `MinPLogitsWarper`). The likeliest token is always left.

    Attributes:
        top_k: 0: all. top_p: 1: all. min_p: 0: all.
    """

    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    @property
    def cuts(self) -> bool:
        """Whether any token may be left out."""
        return self != Truncation()

    def kept(self, scores: Float[Tensor, "batch vocab"]) -> Bool[Tensor, "batch vocab"]:
        """Which tokens may be drawn.

        Args:
            scores: logits divided by the temperature.
        """
        cut = torch.zeros_like(scores, dtype=torch.bool)
        if self.top_k:
            kth = scores.topk(min(self.top_k, scores.shape[-1])).values[:, -1:]
            cut |= scores < kth
        if self.top_p < 1:
            ascending, order = torch.sort(scores.masked_fill(cut, -torch.inf))
            below = ascending.softmax(-1).cumsum(-1) <= 1 - self.top_p
            below[:, -1] = False
            cut |= below.scatter(1, order, below)
        if self.min_p:
            p = scores.masked_fill(cut, -torch.inf).softmax(-1)
            cut |= (p < self.min_p * p.amax(-1, keepdim=True)).scatter(1, p.argmax(-1, keepdim=True), False)
        return ~cut


@final
class RepetitionPenalty:
    """Divides positive logits, and multiplies negative ones, of every token that stands in the row's text so
    far, prompt included (Keskar et al. 2019, arXiv 1909.05858). Padding is no text, unlike in Hugging Face's
    batches: a row's tokens do not depend on the rows beside it.
    """

    def __init__(self, penalty: float, prompts: Sequence[Sequence[int]]) -> None:
        self._penalty, self._prompts = penalty, prompts
        self._seen: Bool[Tensor, "batch vocab"] | None = None

    def applied(self, logits: Float[Tensor, "batch vocab"]) -> Float[Tensor, "batch vocab"]:
        """Penalised logits of every row, float32."""
        logits = logits.float()
        if self._seen is None:
            self._seen = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
            for row, ids in zip(self._seen, self._prompts, strict=True):
                row[torch.tensor([i for i in ids if i < len(row)], device=row.device)] = True
        penalised = torch.where(logits < 0, logits * self._penalty, logits / self._penalty)
        return torch.where(self._seen, penalised, logits)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        """What was written in every row."""
        assert self._seen is not None
        self._seen.scatter_(1, tokens.to(self._seen.device)[:, None], True)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Drop all rows but these."""
        assert self._seen is not None
        self._seen = self._seen[rows.to(self._seen.device)]
