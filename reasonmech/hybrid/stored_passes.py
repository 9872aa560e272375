"""StoredPasses: clean passes computed when they are asked for, from the stream that a store holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from reasonmech.errors import MismatchError
from reasonmech.hosts import Host
from reasonmech.hybrid.disagreements import Likeliest, TextBatch, cache_bytes
from reasonmech.kinds import Openings
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.rerun import CleanPast, Edit, rerun
from reasonmech.runtime.served import NO_LAYER, BlockOutput, output_length, past_above
from reasonmech.shapes import NextLogits
from reasonmech.site import Site


class ReadTexts(NamedTuple):
    """What a clean host would write after every token of some rollouts (`ReadPass`)."""

    first: int
    ids: Int[Tensor, "batch pos"]
    likeliest: Int[Tensor, "batch pos"]
    likeliest_kind: Int[Tensor, "batch pos"] | None


@final
class StoredStream:
    """The stream that leaves a block, at every token of texts, in a store or in memory.

    Attributes:
        layer: number of the block; `NO_LAYER`: there is none below the site, and the store is not read.

    Raises:
        MismatchError: activations of another model, or of other texts.
    """

    def __init__(self, host: Host, acts: Activations, lengths: Sequence[int], layer: int) -> None:
        acts.check(host)
        self._ends = [0, *accumulate(lengths)]
        if not acts.contiguous or acts.n_tokens != self._ends[-1]:
            raise MismatchError(
                f"{acts!r} for {len(lengths)} texts of {self._ends[-1]} tokens",
                allowed="every token of these texts, in their order",
                do="capture them with the whole of keep=",
            )
        self.layer = layer
        self._acts, self._site = acts, acts.sites[0]
        self._length = 0 if layer == NO_LAYER else output_length(host, layer)

    def of(self, first: int, width: int, n: int, host: Host) -> BlockOutput | None:
        """What the block returned for `n` texts from number `first` on, padded on the right with zeros."""
        if self.layer == NO_LAYER:
            return None
        ends = self._ends[first : first + n + 1]
        rows = read_rows(self._acts, self._site, ends[0], ends[-1])
        stream = rows.new_zeros(n, width, rows.shape[-1])
        for i in range(n):
            start, stop = ends[i] - ends[0], ends[i + 1] - ends[0]
            stream[i, : stop - start] = rows[start:stop]
        return BlockOutput(self.layer, stream.to(host.device, host.dtype), self._length)


def read_rows(acts: Activations, site: Site, start: int, stop: int) -> Float[Tensor, "n d_model"]:
    """Rows [start, stop) at a site; files stay closed afterwards, and nothing of them mapped."""
    parts, first = [], 0
    for shard in acts.shards:
        begin, end = max(start - first, 0), min(stop - first, shard.n_tokens)
        if begin < end:
            parts.append(shard.part(str(site), begin, end))
        first += shard.n_tokens
    return torch.cat(parts)


@final
@dataclass(frozen=True, eq=False)
class StoredPass:
    """One batch of rollouts whose keys and values above the stored stream are computed when first needed."""

    host: Host
    first: int
    texts: TextBatch
    source: StoredStream
    offset: int

    @property
    def ids(self) -> Int[Tensor, "batch pos"]:
        return self.texts.ids

    @cached_property
    def known(self) -> BlockOutput | None:
        n, width = self.ids.shape
        return self.source.of(self.offset + self.first, width, n, self.host)

    @cached_property
    def cache(self) -> DynamicCache:
        cache = DynamicCache()
        with torch.no_grad():
            self.texts.run(self.host, cache, self.known)
        return cache

    def row_bytes(self) -> int:
        return cache_bytes(self.cache) // len(self.ids)

    def steered(
        self, host: Host, site: Site, rollout: Int[Tensor, " row"], position: Int[Tensor, " row"], edit: Edit
    ) -> NextLogits:
        row, device, width = (rollout - self.first).to(host.device), host.device, self.ids.shape[1]
        visible = (torch.arange(width)[None, :] < position[:, None]).long().to(device)
        at = position.to(device)
        past = past_above(self.cache, self.source.layer, width, lambda x: x[row.to(x.device)])
        known = self.known
        if known is not None:
            known = known._replace(stream=known.stream[row, at][:, None])
        return rerun(host, CleanPast(past, visible, self.ids[row, at], at), site, edit, known=known)


@final
@dataclass(frozen=True, eq=False)
class StoredPasses:
    """Batches of rollouts, in order; no more of them is in memory than somebody holds.

    Attributes:
        offset: number of the first rollout in the store.
    """

    host: Host
    rollouts: Sequence[Rollout]
    batch_size: int
    source: StoredStream
    offset: int = 0

    def __len__(self) -> int:
        return -(-len(self.rollouts) // self.batch_size)

    def __getitem__(self, number: int) -> StoredPass:
        first = number * self.batch_size
        texts = TextBatch.of(self.host, self.rollouts[first : first + self.batch_size])
        return StoredPass(self.host, first, texts, self.source, self.offset)

    def read(self, number: int, openings: Openings | None) -> Likeliest:
        """What the clean host would write after every token of one batch."""
        batch = self[number]
        with torch.no_grad():
            return batch.texts.likeliest(self.host, openings, known=batch.known)
