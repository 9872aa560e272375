"""RaggedReader: one untouched model over rows of which each has read another number of tokens."""

from __future__ import annotations

from typing import Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from reasonmech.hosts.host import Host
from reasonmech.runtime.decoding.growing_cache import growing_cache
from reasonmech.runtime.decoding.repeats import repeated_rows
from reasonmech.runtime.decoding.watched_block import WatchedBlock, read_into
from reasonmech.runtime.rerun import CleanPast
from reasonmech.runtime.served import NO_LAYER, BlockOutput, forgetful
from reasonmech.shapes import Mask, Tokens

_WASTE: Final = 1.5  # columns of the cache per column of the longest row, beyond which it is packed


@final
class RaggedReader:
    """Keys and values of what every row has read. What was read in vain is hidden, and packed away in time.

    A row's tokens stand in the cache in their order, with gaps of hidden ones; the number of those that are
    seen is the position of the next.
    """

    def __init__(self, host: Host, prompts: Tokens, mask: Mask, *, watch: int = NO_LAYER) -> None:
        """Reads the prompts (left-padded, CPU), but for the last token of each.

        Args:
            watch: block whose output at tokens that are read one by one is kept for `past_of`.
        """
        self._host, self._cache = host, growing_cache(host.model.config)
        self._seen = mask[:, :-1].long().to(host.device)  # [row, column], as the two that follow
        self._ids = prompts[:, :-1].to(host.device)
        self._positions = (self._seen.cumsum(dim=1) - 1).clamp_min_(0)
        self._outputs: list[BlockOutput] = []  # of the watched block, of the last reads of one token each
        self._watched: WatchedBlock | None = None
        if self._ids.shape[1]:
            self._read_prompts()
        if watch > NO_LAYER:
            self._watched = WatchedBlock(host, watch)

    def _read_prompts(self) -> None:
        batch = (self._ids, self._seen, self._positions)
        repeats = repeated_rows(self._host.model, *batch[:2])
        if repeats is None:
            self._run(*batch, keep=1)
        else:  # samples of one prompt: it is read once
            self._run(*(tensor[repeats.first] for tensor in batch), keep=1)
            self._cache.batch_select_indices(repeats.of_row)

    def _run(
        self,
        ids: Int[Tensor, "row pos"],
        seen: Int[Tensor, "row past"],
        positions: Int[Tensor, "row pos"],
        *,
        keep: int = 0,
    ) -> Float[Tensor, "row pos vocab"]:
        """Logits of the last `keep` tokens, 0 for all of them."""
        batch = (ids, seen, positions)
        logits = read_into(self._host, self._cache, batch, keep=keep, watched=self._watched)
        self._check_whole(seen.shape[1])
        return logits

    def _check_whole(self, n: int) -> None:
        for layer in self._cache.layers:
            if not isinstance(layer, DynamicLayer) or layer.keys is None or layer.keys.shape[-2] != n:
                raise forgetful(f"the cache of {self._host.name!r} does not hold all {n} positions", "")

    def read(self, tokens: Int[Tensor, "row pos"]) -> Float[Tensor, "row pos vocab"]:
        """Logits behind each of some more tokens of every row (any device)."""
        longest = int(self._seen.sum(dim=1).max())
        if self._seen.shape[1] > _WASTE * longest + tokens.shape[1]:
            self._pack(longest)
        tokens = tokens.to(self._host.device)
        first = self._seen.sum(dim=1, keepdim=True)
        positions = first + torch.arange(tokens.shape[1], device=first.device)
        self._seen = torch.cat([self._seen, torch.ones_like(tokens)], dim=1)
        self._ids = torch.cat([self._ids, tokens], dim=1)
        self._positions = torch.cat([self._positions, positions], dim=1)
        logits = self._run(tokens, self._seen, positions)
        if self._watched is not None and self._watched.output is not None:
            self._outputs.append(self._watched.output)
        return logits

    def _pack(self, longest: int) -> None:
        """Move what each row sees to the end, and drop what no row sees then."""
        order = self._seen.argsort(dim=1, stable=True)[:, self._seen.shape[1] - longest :]
        self._seen, self._ids, self._positions = (
            tensor.gather(1, order) for tensor in (self._seen, self._ids, self._positions)
        )
        for layer in self._cache.layers:
            assert isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
            layer.keys, layer.values = (
                kept.gather(2, order[:, None, :, None].expand(-1, kept.shape[1], -1, kept.shape[3]))
                for kept in (layer.keys, layer.values)
            )

    def past_of(self, back: Int[Tensor, " row"]) -> CleanPast:
        """Of each row the token that was read `back` tokens before the last, and the past that it sees."""
        back = back.to(self._seen.device)
        at = self._seen.shape[1] - 1 - back
        columns = torch.arange(self._seen.shape[1], device=self._seen.device)
        visible = self._seen * (columns < at[:, None])
        tokens, positions = (kept.gather(1, at[:, None])[:, 0] for kept in (self._ids, self._positions))
        return CleanPast(self._cache, visible, tokens, positions, self._known(back))

    def _known(self, back: Int[Tensor, " row"]) -> BlockOutput | None:
        if not self._outputs:
            return None
        streams = torch.stack([output.stream for output in self._outputs])
        at = len(self._outputs) - 1 - back.to(streams.device)
        return self._outputs[-1]._replace(stream=streams[at, torch.arange(len(at), device=at.device)])

    def hide_beyond(self, counts: Int[Tensor, " row"]) -> None:
        """Forget what each row has read beyond so many tokens, those of its prompt among them."""
        kept = self._seen.cumsum(dim=1) <= counts.to(self._seen.device)[:, None]
        self._seen = self._seen * kept
        self._outputs.clear()

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Drop all rows but these (CPU)."""
        on_device = rows.to(self._seen.device)
        self._outputs.clear()
        self._cache.batch_select_indices(on_device)
        self._seen, self._ids = self._seen[on_device], self._ids[on_device]
        self._positions = self._positions[on_device]
