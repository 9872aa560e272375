"""HostDecoder: one untouched Hugging Face model under a plan, KV-cached, as a Decoder."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from reasonmech.hosts.host import Host
from reasonmech.runtime.decoder import RowInfo
from reasonmech.shapes import Mask, NextLogits, Tokens
from reasonmech.step import CausalLabeller

NO_LABELLERS: Final[Mapping[str, CausalLabeller]] = MappingProxyType({})


@final
class HostDecoder:
    """The plain model, with no hook installed."""

    def __init__(self, host: Host) -> None:
        self.host = host

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.host.tokenizer

    @property
    def eos_id(self) -> int | None:
        return self.host.eos_id

    @property
    def pad_id(self) -> int:
        return self.host.pad_id

    @property
    def device(self) -> torch.device:
        return self.host.device

    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> HostState:
        return HostState(self, prompts, mask, rows, max_new_tokens)


@final
class HostState:
    """A batch of one host in flight: its cache, its text so far."""

    def __init__(self, decoder: HostDecoder, prompts: Tokens, mask: Mask, rows: list[RowInfo], room: int) -> None:
        batch, width = prompts.shape
        self._model, self._device = decoder.host.model, decoder.device
        self._cache = DynamicCache(config=self._model.config)
        self._ids = torch.cat([prompts, prompts.new_zeros(batch, room)], dim=1)
        self._mask = torch.cat([mask, mask.new_ones(batch, room)], dim=1)
        self._attention = self._mask.long().to(self._device)
        self._seen, self._pending = 0, width
        self._input = prompts.to(self._device)
        self._positions = (self._attention[:, :width].cumsum(-1) - 1).clamp_min_(0)
        self._prompt_length = torch.tensor([row.prompt_length for row in rows])
        self._rows = torch.tensor([row.index for row in rows])

    def next_logits(self) -> NextLogits:
        assert self._pending, "advance() before the next logits"
        self._seen += self._pending
        out = self._model(
            input_ids=self._input,
            attention_mask=self._attention[:, : self._seen],
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._pending = 0
        return out.logits[:, -1]

    def steered(self) -> Bool[Tensor, " batch"]:
        return torch.zeros(len(self._rows), dtype=torch.bool)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._ids[:, self._seen] = tokens.cpu()
        self._input = tokens.to(self._device)[:, None]
        self._positions = self._positions[:, -1:] + 1
        self._pending = 1

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        here = rows.to(self._device)
        self._cache.batch_select_indices(here)
        self._attention, self._input, self._positions = self._attention[here], self._input[here], self._positions[here]
        self._ids, self._mask = self._ids[rows], self._mask[rows]
        self._prompt_length, self._rows = self._prompt_length[rows], self._rows[rows]

    def close(self) -> None:
        self._input = self._input[:0]
