"""TextPairs: clean and corrupt texts, and which of their tokens stand for each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias, final, get_args

import numpy as np

from reasonmech.arguments import as_sequence, describe
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.rollout import Rollout
from reasonmech.runtime.pass_rows import TextLike, as_texts

PatchDirection: TypeAlias = Literal["denoise", "noise"]
PositionPair: TypeAlias = tuple[int, int]  # position in the clean text, position in the corrupt one
Positions: TypeAlias = int | Sequence[int] | Mapping[str, int | Sequence[int | Sequence[int]]] | None

POSITIONS: Final = "positions [-1, -2], or a name for each place: {'end': -1, 'said': [4, (6, 7), 4]}"
INTEGER: Final = (int, np.integer)


@checked
@final
@dataclass(frozen=True, eq=False, repr=False)
class TextPairs:
    """Pairs of texts that differ in one respect, and the tokens that are compared between them.

    Attributes:
        clean: the texts that show what is studied.
        corrupt: for each of them the text that does not. A metric reads what comes after the last token.
        positions: None: every token, by its number from the start, which needs pairs of equal length; a list
            of positions, negative ones counted from the end of each text; or name -> one entry per pair, a
            position of both texts or (position in the clean text, position in the corrupt one). A single
            number under a name is the position in all pairs.
        direction: "denoise" runs the corrupt texts and takes activations from the clean ones (what is
            sufficient to restore), "noise" the other way round (what is necessary): Heimersheim and Nanda
            2024 (arXiv 2404.15255).
        problems: id of each pair's problem, the unit of every interval. None: that of a rollout; each pair of
            plain texts is a problem of its own.

    Raises:
        ArgumentError: something that is no text or no position. One text is one text, never its characters.
        DataError: other numbers of clean and corrupt texts, of positions under a name, or of problems;
            nothing at all.
        UnknownNameError: no such direction.
    """

    clean: Sequence[TextLike]
    corrupt: Sequence[TextLike]
    positions: Positions = None
    direction: PatchDirection = "denoise"
    problems: Sequence[str] | None = None

    def __post_init__(self) -> None:
        clean, corrupt = as_texts(self.clean, name="clean"), as_texts(self.corrupt, name="corrupt")
        if len(clean) != len(corrupt) or not clean:
            raise DataError(
                f"{len(clean)} clean and {len(corrupt)} corrupt texts",
                allowed="as many of one as of the other, at least one",
                do="give one corrupt text for every clean one",
            )
        if self.direction not in get_args(PatchDirection):
            raise UnknownNameError("direction", str(self.direction), get_args(PatchDirection))
        if self.problems is not None:
            names = as_sequence(self.problems, str, name="problems", allowed="the id of each pair's problem")
            if len(names) != len(clean):
                raise DataError(f"{len(names)} problems for {len(clean)} pairs of texts", allowed="one each")
            object.__setattr__(self, "problems", tuple(names))
        object.__setattr__(self, "clean", tuple(clean))
        object.__setattr__(self, "corrupt", tuple(corrupt))
        _ = self.named_positions  # refuses what makes no sense now, not in the run

    @cached_property
    def named_positions(self) -> Mapping[str, tuple[PositionPair, ...]] | None:
        """Name of a place -> its position in both texts of every pair, as given: -1 is the last."""
        if self.positions is None:
            return None
        named = _named(self.positions, len(self))
        if not named:
            raise DataError("no position to compare", do="name some, or leave positions=None for all")
        return named

    @cached_property
    def problem_ids(self) -> tuple[str, ...]:
        """The problem of every pair."""
        if self.problems is not None:
            return tuple(str(problem) for problem in self.problems)
        return tuple(
            text.problem.id if isinstance(text, Rollout) else f"text {i}" for i, text in enumerate(self.clean)
        )

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, pairs: slice) -> TextPairs:
        """Some of the pairs, with their positions and problems. Raises ArgumentError for one number."""
        if not isinstance(pairs, slice):
            raise ArgumentError(
                f"pairs[{pairs!r}]", allowed="a slice", do="pairs[:1] is the first pair alone"
            )
        named, problems = self.named_positions, self.problems
        return replace(
            self,
            clean=self.clean[pairs],
            corrupt=self.corrupt[pairs],
            positions=None if named is None else {name: places[pairs] for name, places in named.items()},
            problems=None if problems is None else problems[pairs],
        )

    def at(self, positions: Positions) -> TextPairs:
        """The same pairs, compared at other tokens."""
        return replace(self, positions=positions)

    def __repr__(self) -> str:
        named = self.named_positions
        places = "every position" if named is None else f"positions {', '.join(named)}"
        return f"TextPairs({len(self)} pairs, {places}, {self.direction})"


def _named(positions: Any, n_pairs: int) -> dict[str, tuple[PositionPair, ...]]:
    if not isinstance(positions, Mapping):
        listed = [int(one) for one in as_sequence(positions, INTEGER, name="positions", allowed=POSITIONS)]
        return {str(position): ((position, position),) * n_pairs for position in listed}
    named: dict[str, tuple[PositionPair, ...]] = {}
    for name, entries in positions.items():
        if not isinstance(name, str):
            raise ArgumentError(
                f"a position is named {describe(name)}", allowed=POSITIONS, do=f"write {{'{name}': ...}}"
            )
        if isinstance(entries, INTEGER):
            entries = (entries,) * n_pairs
        if isinstance(entries, str) or not isinstance(entries, Sequence):
            raise ArgumentError(
                f"position {name!r} is {describe(entries)}",
                allowed=POSITIONS,
                do=f"{{{name!r}: -1}} is the last",
            )
        if len(entries) != n_pairs:
            raise DataError(
                f"position {name!r} has {len(entries)} entries for {n_pairs} pairs of texts",
                allowed="one per pair: a position, or (clean, corrupt); or one number for all pairs",
            )
        named[name] = tuple(_position_pair(entry, name) for entry in entries)
    return named


def _position_pair(entry: object, name: str) -> PositionPair:
    """One entry under a name: a position of both texts, or one of each."""
    both = (entry, entry) if isinstance(entry, INTEGER) else entry
    if isinstance(both, list | tuple) and len(both) == 2 and all(isinstance(one, INTEGER) for one in both):
        return int(both[0]), int(both[1])
    raise ArgumentError(
        f"position {name!r} has the entry {describe(entry)}",
        allowed="a position, or (position in the clean text, position in the corrupt one)",
        do="positions count tokens from 0: host.encode(text) says which",
    )
