"""Kinds: which kind of sentence is being written, row by row, while it is written; whoever can tell."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@runtime_checkable
class KindTracker(Protocol):
    """The sentences of a batch of growing texts, from the first generated token on. All tensors on the CPU.

    Attributes:
        boundary: [batch] rows whose next token begins a sentence.
    """

    @property
    def boundary(self) -> Bool[Tensor, " batch"]: ...

    def category(self, proposed: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Category of each row's next token if it were `proposed`: that of the sentence it would stand in.

        At a boundary that is the sentence which the token would begin. The state does not change.
        """
        ...

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        """Append one token to every row."""
        ...

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Drop all rows but these, in this order."""
        ...


@runtime_checkable
class Kinds(Protocol):
    """Categories of sentence, and how to follow them through texts that are being written.

    What a token's category is may depend on everything written before it. `tasks.chain.OneWordKinds` looks at
    the first token of a sentence alone.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each category; among them `rollout.OTHER`, for sentences that are of no kind."""
        ...

    def track(self, batch: int) -> KindTracker:
        """The tracker of a batch of texts in which nothing is written yet."""
        ...

    def label(self, tokens: Int[Tensor, " pos"]) -> Int[Tensor, " pos"]:
        """Category of every token of one generated text: what a tracker says, token by token."""
        tracker, categories = self.track(1), []
        for token in tokens:
            categories.append(tracker.category(token[None])[0])
            tracker.advance(token[None])
        return torch.stack(categories) if categories else torch.zeros(0, dtype=torch.long)


def opening_categories(kinds: Kinds, vocab_size: int) -> Int[Tensor, " token"]:
    """Category of every token of a vocabulary, were it the first of a text."""
    return kinds.track(vocab_size).category(torch.arange(vocab_size))
