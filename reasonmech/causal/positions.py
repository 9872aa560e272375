"""Positions: which tokens of a clean and a corrupt text stand for each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from reasonmech.errors import DataError
from reasonmech.runtime.pass_rows import PassRow

PerText: TypeAlias = Sequence[int | tuple[int, int]]
Positions: TypeAlias = Sequence[int] | Mapping[str, PerText] | None


class Place(NamedTuple):
    """One token of a pair of texts.

    Attributes:
        name: what tables call it; the same name in every pair makes one row of them.
        clean, corrupt: its absolute, pad-free position in either text.
    """

    name: str
    clean: int
    corrupt: int


def align(
    clean: Sequence[PassRow], corrupt: Sequence[PassRow], positions: Positions
) -> list[tuple[Place, ...]]:
    """For every pair of texts the tokens that are compared.

    Args:
        positions: None: every position, by its number from the start, which needs texts of equal length in
            each pair; a list of positions, negative ones counted from the end of each text; or name -> one
            entry per pair, which is a position of both texts or (position of the clean, position of the
            corrupt one).

    Raises:
        DataError: another number of clean than of corrupt texts, lengths that differ where that matters, a
            position outside a text, a name with another number of entries than there are pairs, or nothing at
            all.
    """
    if len(clean) != len(corrupt) or not clean:
        raise DataError(
            f"{len(clean)} clean and {len(corrupt)} corrupt texts",
            do="give one corrupt text for every clean one",
        )
    pairs = list(zip(clean, corrupt, strict=True))
    if positions is None:
        return [_every(first, second) for first, second in pairs]
    named = _named(positions, len(pairs))
    if not named:
        raise DataError("no position to compare", do="name some, or leave positions=None for all")
    return [
        tuple(Place(name, _inside(a, at[row][0]), _inside(b, at[row][1])) for name, at in named.items())
        for row, (a, b) in enumerate(pairs)
    ]


def _every(clean: PassRow, corrupt: PassRow) -> tuple[Place, ...]:
    if len(clean.ids) != len(corrupt.ids):
        raise DataError(
            f"{clean.name} has {len(clean.ids)} clean and {len(corrupt.ids)} corrupt tokens:"
            " positions=None aligns them by number from the start, which needs equal lengths",
            allowed='positions=[-1, -2] counts from each text\'s end, {"name": [(clean, corrupt), ...]} '
            "says it all",
            do="say which positions stand for each other, or use texts of equal length",
        )
    return tuple(Place(str(i), i, i) for i in range(len(clean.ids)))


def _named(positions: Sequence[int] | Mapping[str, PerText], n: int) -> dict[str, list[tuple[int, int]]]:
    """name -> (clean, corrupt) position of every pair, as given."""
    if not isinstance(positions, Mapping):
        return {str(int(p)): [(int(p), int(p))] * n for p in positions}
    for name, entries in positions.items():
        if len(entries) != n:
            raise DataError(
                f"position {name!r} has {len(entries)} entries for {n} pairs of texts",
                allowed="one per pair: a position, or (clean, corrupt)",
            )
    return {
        name: [
            (entry[0], entry[1]) if isinstance(entry, tuple) else (int(entry), int(entry))
            for entry in entries
        ]
        for name, entries in positions.items()
    }


def _inside(text: PassRow, position: int) -> int:
    n = len(text.ids)
    if not -n <= position < n:
        raise DataError(
            f"position {position} of {text.name}, which has {n} tokens",
            allowed=f"0 .. {n - 1}, or -{n} .. -1 from its end",
        )
    return position % n
