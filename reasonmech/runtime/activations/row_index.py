"""RowIndex: which row a position of a text is, read column by column from shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from reasonmech.arguments import describe
from reasonmech.errors import ArgumentError, DataError
from reasonmech.runtime.activations.shards import MemoryShard, Shard

if TYPE_CHECKING:
    import pandas as pd

    from reasonmech.labels import Labels
    from reasonmech.rollout import Rollout


_POSITION: Final = (1 << 32) - 1  # the part of a key that is the position


class _Places(NamedTuple):
    """starts: [rollout] first row; counts: [rollout] rows; keys: [row] of `_key`, None where they are
    contiguous."""

    starts: Int[np.ndarray, " rollout"]
    counts: Int[np.ndarray, " rollout"]
    keys: Int[np.ndarray, " row"] | None


def _key(rollout: Int[np.ndarray, " n"], position: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """One number for both, in the order of the rows."""
    return rollout.astype(np.int64) << 32 | position


def whole_numbers(values: object, *, name: str) -> Int[Tensor, " n"]:
    """A list of whole numbers as a tensor.

    Raises:
        ArgumentError: truth values (a mask), fractions, or no list.
    """
    try:
        numbers = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        numbers = None
    empty = numbers is not None and numbers.numel() == 0
    whole = numbers is not None and not numbers.is_floating_point() and numbers.dtype != torch.bool
    if numbers is None or numbers.dim() != 1 or not (whole or empty) or numbers.is_complex():
        of_mask = numbers is not None and numbers.dtype == torch.bool
        raise ArgumentError(
            f"{name} is {describe(values)}" + (" of truth values" if of_mask else ""),
            allowed="whole numbers, in a list or a tensor of one axis",
            do="mask.nonzero().flatten() gives the numbers of a mask" if of_mask else "",
        )
    return numbers.long().cpu()


def row_numbers(values: object, n: int, *, of: object) -> Int[Tensor, " n"]:
    """Numbers of some of n rows. Raises ArgumentError where they are none, DataError where there is no such
    row."""
    numbers = whole_numbers(values, name="tokens")
    outside = (numbers < 0) | (numbers >= n)
    if bool(outside.any()):
        raise DataError(f"row {int(numbers[outside][0])} of {of!r}", allowed=f"0 .. {n - 1}")
    return numbers


@final
class RowIndex:
    """Rows of rollouts and positions; holds no more than a number per rollout where texts were kept without
    gaps."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._compared: list[Sequence[Rollout]] = []  # rollouts whose tokens these are

    @property
    def contiguous(self) -> bool:
        """Whether each rollout's rows are its positions 0, 1, 2, ..."""
        return self._places.keys is None

    @property
    def n_rollouts(self) -> int:
        """Rollouts up to the last one of which a token was kept."""
        return len(self._places.starts)

    def find(self, rollout: Int[np.ndarray, " n"], position: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Row of each position; -1 where it was not captured."""
        starts, counts, keys = self._places
        known = (rollout >= 0) & (rollout < len(starts)) & (position >= 0)
        at = np.where(known, rollout, 0)
        if keys is None:
            row, captured = starts[at] + position, position < counts[at]
        else:
            key = _key(at, np.where(known, position, 0))
            row = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
            captured = keys[row] == key
        return np.where(known & captured, row, -1).astype(np.int64)

    def check_texts(self, labels: Labels) -> None:
        """Raise MismatchError where labels were made from other texts; each set of rollouts is read once."""
        if labels.rollouts is None or any(labels.rollouts is rollouts for rollouts in self._compared):
            return
        for shard in self._shards:
            table = shard.table(["rollout", "position", "token"])
            labels.check_tokens(*(column.to_numpy() for column in table.columns[:3]))
        self._compared.append(labels.rollouts)

    def positions(self, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Position in its text of each row."""
        starts, _, keys = self._places
        if keys is not None:
            return keys[rows] & _POSITION
        return rows - starts[np.searchsorted(starts, rows, side="right") - 1]

    @cached_property
    def first_tokens(self) -> frozenset[int]:
        """Ids that stand at position 0 of the texts whose first token was kept."""
        ids: set[int] = set()
        for shard in self._shards:
            table = shard.table(["position", "token"])
            position, token = (table.column(name).to_numpy() for name in ("position", "token"))
            ids |= set(np.unique(token[position == 0]).tolist())
        return frozenset(ids)

    @cached_property
    def longest(self) -> int:
        """One more than the largest position that was kept."""
        return 1 + max((int(position.max()) for _, position in self._columns() if len(position)), default=-1)

    def frame(self) -> pd.DataFrame:
        """The whole index."""
        import pyarrow

        if len(self._shards) == 1 and isinstance(self._shards[0], MemoryShard):
            return self._shards[0].index
        return pyarrow.concat_tables([shard.table() for shard in self._shards]).to_pandas(
            split_blocks=True, self_destruct=True
        )

    @cached_property
    def _places(self) -> _Places:
        counts, contiguous = np.zeros(0, dtype=np.int64), True
        for rollout, position in self._columns():
            in_shard = np.bincount(rollout, minlength=len(counts))
            earlier = np.concatenate([counts, np.zeros(len(in_shard) - len(counts), dtype=np.int64)])
            first = np.cumsum(in_shard) - in_shard
            at = np.arange(len(position)) - (first - earlier)[rollout]
            contiguous, counts = contiguous and np.array_equal(position, at), earlier + in_shard
        keys = None if contiguous else np.concatenate([_key(*columns) for columns in self._columns()])
        return _Places(np.cumsum(counts) - counts, counts, keys)

    def _columns(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for shard in self._shards:
            table = shard.table(["rollout", "position"])
            yield table.column("rollout").to_numpy(), table.column("position").to_numpy()
