"""Repeats: rows of a batch that read the same prompt, which a model need read only once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn


class Repeats(NamedTuple):
    """Rows that are one.

    Attributes:
        first: of each distinct row, the first that is it.
        of_row: [row] which of these a row is.
    """

    first: Int[Tensor, " distinct"]
    of_row: Int[Tensor, " row"]


def repeated_rows(
    model: nn.Module, ids: Int[Tensor, "row pos"], seen: Int[Tensor, "row past"]
) -> Repeats | None:
    """Which rows are repeated, by their tokens and which of them are real; None where none is.

    None, too, where somebody has a hook in the model: a hook is told every row.
    """
    _, of_row = torch.cat([ids, seen], dim=1).unique(dim=0, return_inverse=True)
    n = int(of_row.max()) + 1
    if n == len(ids) or _is_hooked(model):
        return None
    rows = torch.arange(len(ids), device=ids.device)
    first = rows.new_full((n,), len(ids)).scatter_reduce(0, of_row, rows, reduce="amin")
    return Repeats(first, of_row)


def _is_hooked(model: nn.Module) -> bool:
    return any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
