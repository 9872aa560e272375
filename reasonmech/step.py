"""Step: everything an edit may know in one forward pass, in absolute, pad-free positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.door import checked
from reasonmech.shapes import Mask, Tokens


@runtime_checkable
class CausalLabeller(Protocol):
    """Marks positions of a text that is still growing. A longer text must never change an earlier mark."""

    def __call__(self, ids: Sequence[int], prompt_length: int) -> Sequence[bool]:
        """One mark for every position of `ids` (prompt included); `prompt_length` in tokens."""
        ...


@checked
@dataclass(frozen=True, eq=False)
class Step:
    """One forward pass over a batch: the whole text so far, and how much of it this pass computes.

    Lives on the CPU whatever the model's device, so that masks cost no synchronisation.

    Attributes:
        ids: every token so far, the prompt and the tokens this pass computes included; padding anywhere.
        mask: True on real tokens, False on padding.
        prompt_length: tokens of each row's prompt, padding excluded.
        new: columns that this pass computes, the last `new` of `ids`.
        rows: number of each row in the whole run (a source of `patch` is aligned with it).
        labels: name -> marked positions, for `labelled(name)`.
    """

    ids: Tokens
    mask: Mask
    prompt_length: Int[Tensor, " batch"]
    new: int
    rows: Int[Tensor, " batch"]
    labels: Mapping[str, Mask] = field(default_factory=dict)

    @classmethod
    @checked
    def of(
        cls, ids: Tokens, *, prompt_length: int | None = None, labels: Mapping[str, Mask] | None = None
    ) -> Step:
        """The step of one uncached, unpadded pass; without `prompt_length` all of it is prompt."""
        batch, width = ids.shape
        length = width if prompt_length is None else prompt_length
        return cls(
            ids=ids.cpu(),
            mask=torch.ones(batch, width, dtype=torch.bool),
            prompt_length=torch.full((batch,), length),
            new=width,
            rows=torch.arange(batch),
            labels=labels or {},
        )

    @cached_property
    def positions(self) -> Int[Tensor, "batch pos"]:
        """Absolute position of every token so far, counted from the row's first real token; -1 before it."""
        return self.mask.long().cumsum(-1) - 1

    @cached_property
    def text(self) -> Tokens:
        """`ids` with -1 on padding, which equals no token."""
        return self.ids.masked_fill(~self.mask, -1)

    def computed(self, over_text: Mask) -> Bool[Tensor, "batch new"]:
        """Slice a mask over the whole text to the real tokens that this pass computes."""
        return (over_text & self.mask)[:, -self.new :]
