"""A mask that names tokens by their number in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import torch

from reasonmech.arguments import check_whole, describe, is_iterable
from reasonmech.errors import ArgumentError, BindError, DataError
from reasonmech.interventions.masks.where import Where, masks
from reasonmech.shapes import Mask
from reasonmech.step import Step

ALLOWED: Final = "positions >= 0, either the same for all rows or per_row"
DO: Final = (
    "rm.at(3, 5), or rm.at(per_row=[(3,), (5, 6)]); rm.prompt(start=-1) counts from the end of the prompt"
)


@masks.register("at")
@final
@dataclass(frozen=True, repr=False)
class At(Where):
    """Tokens at absolute, pad-free positions: the same in every row, or by the row's number in the run.

    Raises:
        ArgumentError: a position that is no integer.
        BindError: no position at all, both ways at once, or a negative position.
    """

    positions: tuple[int, ...] = ()
    per_row: tuple[tuple[int, ...], ...] | None = None
    kind = "at"

    def __post_init__(self) -> None:
        positions = _integers(self.positions, "positions")
        rows = None if self.per_row is None else _rows(self.per_row)
        named = positions if rows is None else [i for row in rows for i in row]
        if not named or (positions and rows is not None) or min(named) < 0:
            raise BindError(f"at() of positions {positions} and per_row={rows!r:.80}", allowed=ALLOWED, do=DO)
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "per_row", rows)

    def __str__(self) -> str:
        if self.per_row is None:
            return f"at({', '.join(map(str, self.positions))})"
        return f"at(per_row={len(self.per_row)} rows)"

    def mask(self, step: Step) -> Mask:
        if self.per_row is None:
            return torch.isin(step.positions, torch.tensor(self.positions))
        named = [self._of(row) for row in step.rows.tolist()]
        batch, width = step.positions.shape
        # no text has a position `width`: rows that name fewer positions are filled up with it
        targets = torch.full((batch, max(1, *map(len, named), 1)), width)
        for row, positions in enumerate(named):
            targets[row, : len(positions)] = torch.tensor(positions, dtype=torch.long)
        columns = torch.searchsorted(step.positions, targets)  # the first column of a position is its token
        marks = torch.zeros(batch, width + 1, dtype=torch.bool)
        return marks.scatter(1, columns, True)[:, :width]

    def row_counts(self) -> frozenset[int]:
        return frozenset() if self.per_row is None else frozenset([len(self.per_row)])

    def idle(self, texts: Sequence[Sequence[int]]) -> tuple[str, ...]:
        """Where a text was written that ended before; of texts that are there already it is an error."""
        short = [row for row, ids in enumerate(texts) if self.reach(row) > len(ids)]
        if not short:
            return ()
        row = short[0]
        return (
            f"{self} names positions that {len(short)} of {len(texts)} texts ended before (row {row} has "
            f"{len(texts[row])} tokens, position {self.reach(row) - 1} is named)",
        )

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
        ArgumentError: a position that is no integer.
        BindError: no position at all, both ways at once, or a negative position (nobody knows where a growing
            text ends: `prompt(start=-1)` counts from the end of the prompt).
    """
    return At(positions, per_row)  # pyright: ignore[reportArgumentType]  made tuples of there


def _rows(rows: object) -> tuple[tuple[int, ...], ...]:
    if isinstance(rows, str) or not is_iterable(rows):
        raise ArgumentError(f"per_row of at() is {describe(rows)}", allowed=ALLOWED, do=DO)
    return tuple(_integers(row, f"per_row[{n}]") for n, row in enumerate(rows))


def _integers(numbers: object, name: str) -> tuple[int, ...]:
    if isinstance(numbers, str) or not is_iterable(numbers):
        raise ArgumentError(f"{name} of at() is {describe(numbers)}", allowed=ALLOWED, do=DO)
    return tuple(
        check_whole(i, name=f"{name}[{n}] of at()", allowed=ALLOWED, do=DO) for n, i in enumerate(numbers)
    )
