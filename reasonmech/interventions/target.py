"""Target: the tokens of one pass that one mask names, taken out of a stream and put back."""

from __future__ import annotations

from functools import cached_property
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.errors import MismatchError
from reasonmech.hosts.hookpoint import ALL, put_columns
from reasonmech.interventions.edits import Place
from reasonmech.shapes import Mask, Residual
from reasonmech.step import Step


@final
class Target:
    """At least one token of a pass.

    Attributes:
        mask: [batch, new], on the CPU.
        n: tokens it names.
        full: it names every token of the pass.
    """

    def __init__(self, mask: Mask, step: Step, n: int) -> None:
        self.mask, self.n, self.full = mask, n, n == mask.numel()
        self.place = Place(step, mask)

    @classmethod
    def of(cls, mask: Mask, step: Step) -> Target | None:
        """None when the mask names no token: then there is nothing to compute."""
        n = int(mask.sum())
        return cls(mask, step, n) if n else None

    @cached_property
    def _index(self) -> Int[Tensor, " token"]:
        return self.mask.flatten().nonzero().flatten()

    def select(self, x: Residual, columns: slice = ALL) -> Float[Tensor, "token part"]:
        """The named tokens of a stream, row by row, or some columns of them."""
        if x.shape[:2] != self.mask.shape:
            raise MismatchError(
                f"a pass over {tuple(x.shape[:2])} tokens under hooks made for {tuple(self.mask.shape)}",
                do="make the hooks from the step of this very pass: Step.of(ids)",
            )
        part = x if columns == ALL else x[..., columns]
        flat = part.reshape(-1, part.shape[-1])
        return flat if self.full else flat.index_select(0, self._index.to(x.device))

    def put(
        self, x: Residual, new: Float[Tensor, "token part"], columns: slice = ALL, *, in_place: bool = False
    ) -> Residual:
        """A copy of the stream with the named tokens, or some columns of them, replaced.

        Args:
            in_place: nobody else holds `x`, and no gradient needs it: whole tokens may be written into it.
        """
        if columns != ALL:
            return put_columns(x, columns, self.put(x[..., columns], new))
        if self.full:
            return new.reshape(x.shape)
        flat = x.reshape(-1, x.shape[-1])
        put = flat.index_copy_ if in_place else flat.index_copy
        return put(0, self._index.to(x.device), new).reshape(x.shape)

    def open_at_last(self, weight: Float[Tensor, " token"] | None) -> Bool[Tensor, " batch"]:
        """Rows whose last token of the pass is named and, with a gate, has a weight above 0 (CPU)."""
        return self.mark_open(weight)[:, -1]

    def mark_open(self, weight: Float[Tensor, " token"] | None) -> Mask:
        """Named tokens at which, with a gate, the weight is above 0 (CPU)."""
        if weight is None:
            return self.mask
        marks = torch.zeros(self.mask.numel(), dtype=torch.bool)
        marks[self._index] = (weight > 0).cpu()
        return marks.reshape(self.mask.shape)
