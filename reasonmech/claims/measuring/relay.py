"""Relay: two decoders over one text, of which another one says token by token who has the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reasonmech.hosts import Host
from reasonmech.runtime.decoding.decoder import Decoder, DecoderState, RowInfo, writer_of
from reasonmech.runtime.decoding.prompts import read_by
from reasonmech.shapes import Mask, NextLogits, Tokens


class Turns(Protocol):
    """Who has the next token of each row of a batch. All tensors on the CPU."""

    @property
    def second(self) -> Bool[Tensor, " batch"]:
        """Rows whose next token the second decoder writes."""
        ...

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        """Append one token to every row."""
        ...

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Drop all rows but these, in this order."""
        ...


@final
@dataclass(frozen=True, eq=False)
class Relay:
    """Decoder: the first or the second of two decoders writes each token, as `turns` of a batch says.

    Attributes:
        rule: when it is the second one's turn, in words.
    """

    first: Decoder
    second: Decoder
    turns: Callable[[list[RowInfo]], Turns]
    rule: str

    @property
    def writer(self) -> str:
        """Who has which tokens, which its rollouts say (`Rollouts.writer`)."""
        return f"[{writer_of(self.first)}], and {self.rule} [{writer_of(self.second)}]"

    @property
    def readers(self) -> tuple[Host, ...]:
        """Every model once, the first decoder's first."""
        return tuple({id(host): host for host in (*self.first.readers, *self.second.readers)}.values())

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.first.tokenizer

    @property
    def eos_ids(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys((*self.first.eos_ids, *self.second.eos_ids)))

    @property
    def pad_id(self) -> int:
        return self.first.pad_id

    @property
    def device(self) -> torch.device:
        return self.first.device

    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> RelayState:
        states = [
            decoder.start(*read_by(decoder.readers[0], prompts, mask, rows), max_new_tokens)
            for decoder in (self.first, self.second)
        ]
        return RelayState((states[0], states[1]), self.turns(rows), torch.tensor(self.eos_ids))


@final
class RelayState:
    """Both decoders in lockstep over the same text."""

    def __init__(
        self, states: tuple[DecoderState, DecoderState], turns: Turns, ends: Int[Tensor, " token"]
    ) -> None:
        self._states, self._turns, self._ends = states, turns, ends

    def next_logits(self) -> NextLogits:
        first, second = (state.next_logits() for state in self._states)
        rows = min(first.shape[-1], second.shape[-1])
        takes = self._turns.second[:, None].to(first.device)
        return torch.where(takes, second[:, :rows].to(first), first[:, :rows])

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return torch.isin(tokens, self._ends)

    def steered(self) -> Bool[Tensor, " batch"]:
        """Nothing is steered: who writes is decided, activations are not changed."""
        return torch.zeros(len(self._turns.second), dtype=torch.bool)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._turns.advance(tokens.cpu())
        for state in self._states:
            state.advance(tokens)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._turns.select(rows)
        for state in self._states:
            state.select(rows)

    def close(self) -> None:
        for state in self._states:
            state.close()
