"""A mask that names tokens by their number in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch

from reasonmech.errors import BindError, DataError
from reasonmech.interventions.masks.where import Where, masks
from reasonmech.shapes import Mask
from reasonmech.step import Step


@masks.register("at")
@final
@dataclass(frozen=True)
class At(Where):
    """Tokens at absolute, pad-free positions: the same in every row, or by the row's number in the run."""

    positions: tuple[int, ...] = ()
    per_row: tuple[tuple[int, ...], ...] | None = None
    kind = "at"

    def __str__(self) -> str:
        if self.per_row is None:
            return f"at({', '.join(map(str, self.positions))})"
        return f"at(per_row={len(self.per_row)} rows)"

    def mask(self, step: Step) -> Mask:
        if self.per_row is None:
            return torch.isin(step.positions, torch.tensor(self.positions))
        named = [self._of(row) for row in step.rows.tolist()]
        batch, width = step.positions.shape
        wanted = torch.full((batch, max(1, *map(len, named), 1)), width)  # no text has a position `width`
        for row, positions in enumerate(named):
            wanted[row, : len(positions)] = torch.tensor(positions, dtype=torch.long)
        columns = torch.searchsorted(step.positions, wanted)  # the first column of a position is its token
        marks = torch.zeros(batch, width + 1, dtype=torch.bool)
        return marks.scatter(1, columns, True)[:, :width]

    def reach(self, row: int) -> int:
        return max(self._of(row), default=-1) + 1

    def _of(self, row: int) -> tuple[int, ...]:
        if self.per_row is None:
            return self.positions
        if row >= len(self.per_row):
            raise DataError(
                f"at(per_row=...) has positions for {len(self.per_row)} rows, the run has a row {row}",
                do="give one tuple of positions per row, an empty one where none is meant",
            )
        return self.per_row[row]


def at(*positions: int, per_row: Sequence[Sequence[int]] | None = None) -> Where:
    """Tokens at absolute positions, counted from 0 at the text's first real token.

    Args:
        positions: the same in every row.
        per_row: instead, the positions of every row of the run, in its order (an empty one names nothing
            there).

    Raises:
        BindError: no position at all, both ways at once, or a negative position (nobody knows where a growing
            text ends: `prompt(start=-1)` counts from the end of the prompt).
    """
    rows = None if per_row is None else tuple(tuple(int(i) for i in row) for row in per_row)
    named = positions if rows is None else tuple(i for row in rows for i in row)
    if not named or (positions and rows is not None) or min(named) < 0:
        raise BindError(
            f"at() was given positions {tuple(positions)} and per_row={per_row!r}",
            allowed="positions >= 0, either the same for all rows or per_row",
            do="prompt(start=-1) counts from the end of the prompt",
        )
    return At(tuple(int(i) for i in positions), rows)
