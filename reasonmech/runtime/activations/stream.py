"""shuffled: batches of tokens in random order, from shards that need not fit into memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from typing import Final, NamedTuple

import torch
from torch import Tensor

from reasonmech.arguments import check_whole
from reasonmech.errors import DataError, NonFiniteError
from reasonmech.runtime.activations.shards import Shard

RUN: Final = 1024  # consecutive tokens read at once
BUFFER: Final = 2**18


class _RowReader(NamedTuple):
    """One tensor over all shards: where each ends says in which shards some rows are."""

    shards: Sequence[Shard]
    ends: Sequence[int]
    name: str

    def read(self, start: int) -> Tensor:
        """A run of rows from `start` on. Raises NonFiniteError."""
        stop, parts = min(start + RUN, self.ends[-1]), []
        for number in range(bisect_right(self.ends, start), bisect_right(self.ends, stop - 1) + 1):
            shard, end = self.shards[number], self.ends[number]
            first = end - shard.n_tokens
            if shard.n_tokens:
                parts.append(shard.part(self.name, max(start - first, 0), min(stop, end) - first))
        values = torch.cat(parts)
        if not bool(torch.isfinite(values).all()):
            row = start + int((~torch.isfinite(values)).any(-1).nonzero()[0])
            raise NonFiniteError(
                f"activations of {self.name} hold NaN or infinity in row {row}",
                do="capture them again in float32 or bfloat16",
            )
        return values


def shuffled(
    shards: Sequence[Shard], name: str, *, batch_size: int, seed: int, epochs: int, buffer: int
) -> Iterator[Tensor]:
    """Batches of the tensor `name`: see `Activations.stream`."""
    batch_size, seed = check_whole(batch_size, name="batch_size"), check_whole(seed, name="seed")
    epochs, buffer = check_whole(epochs, name="epochs"), check_whole(buffer, name="buffer")
    if min(batch_size, epochs, buffer) < 1:
        raise DataError(
            f"batch_size={batch_size}, epochs={epochs}, buffer={buffer}", allowed="1 or more of each"
        )
    rows = _RowReader(shards, list(accumulate(shard.n_tokens for shard in shards)), name)
    room = max(buffer, batch_size)
    generator = torch.Generator().manual_seed(seed)
    return chain.from_iterable(
        _epoch(rows, batch_size=batch_size, room=room, generator=generator) for _ in range(epochs)
    )


def _epoch(rows: _RowReader, *, batch_size: int, room: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(-(-rows.ends[-1] // RUN), generator=generator).tolist()
    runs: list[Tensor] = []
    n_rows = 0
    for number, which in enumerate(order, start=1):
        runs.append(rows.read(which * RUN))
        n_rows, ended = n_rows + len(runs[-1]), number == len(order)
        if n_rows < room and not ended:
            continue
        pool = torch.cat(runs)
        runs.clear()  # before there is a third copy
        pool = pool[torch.randperm(n_rows, generator=generator)]
        # half of the buffer stays: it mixes with the next runs
        n_out = n_rows if ended else max(batch_size, n_rows // 2) // batch_size * batch_size
        yield from pool[:n_out].split(batch_size)
        runs, n_rows = [pool[n_out:].clone()], n_rows - n_out
