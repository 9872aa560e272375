"""Splicing: one model decides at every sentence boundary what kind of sentence comes next, another writes it.

Because a parser knows which token is the decision, the effect of *when* (onset policy) and *how* (executor) can be
had by exact simulation, without any intervention on activations: the truth an instrument is measured against.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reasonmech.hosts import Host
from reasonmech.runtime.decoder import RowInfo
from reasonmech.runtime.host_decoder import HostDecoder, HostState
from reasonmech.shapes import Mask, NextLogits, Tokens
from reasonmech.tasks.chain.grammar import EOS, ONSET_WORDS

_FULL_STOP: Final = "."


@final
class SplicedDecoder:
    """Decoder: `onset` chooses the first word of every sentence (an onset word, or the end), `executor` the rest.

    With onset and executor the same model this is its free run with its choice made over sentence kinds, not tokens.
    """

    def __init__(
        self, onset: Host, executor: Host, *, onset_words: Collection[str] = tuple(ONSET_WORDS.values())
    ) -> None:
        self.onset, self.executor = onset, executor
        vocabulary = executor.tokenizer.get_vocab()
        self.kinds = torch.tensor([vocabulary[word] for word in (*onset_words, EOS)])
        self.full_stop = vocabulary[_FULL_STOP]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.executor.tokenizer

    @property
    def eos_id(self) -> int | None:
        return self.executor.eos_id

    @property
    def pad_id(self) -> int:
        return self.executor.pad_id

    @property
    def device(self) -> torch.device:
        return self.executor.device

    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> SplicedState:
        hosts = [self.executor] if self.onset is self.executor else [self.executor, self.onset]
        states = [HostDecoder(host).start(prompts, mask, rows, max_new_tokens) for host in hosts]
        return SplicedState(self, states, len(rows))


@final
class SplicedState:
    """Both models in lockstep over the same text."""

    def __init__(self, decoder: SplicedDecoder, states: list[HostState], batch: int) -> None:
        self._decoder, self._states = decoder, states
        self._boundary = torch.ones(batch, dtype=torch.bool)

    def next_logits(self) -> NextLogits:
        every = [state.next_logits() for state in self._states]
        logits, onset = every[0], every[-1]
        kinds, boundary = self._decoder.kinds.to(logits.device), self._boundary.to(logits.device)
        only_kinds = torch.full_like(onset, -torch.inf)
        only_kinds[:, kinds] = onset[:, kinds].to(only_kinds.dtype)
        return torch.where(boundary[:, None], only_kinds, logits)

    def steered(self) -> Bool[Tensor, " batch"]:
        """Nothing is steered: decisions are replaced, activations are not."""
        return torch.zeros(len(self._boundary), dtype=torch.bool)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._boundary = tokens.cpu() == self._decoder.full_stop
        for state in self._states:
            state.advance(tokens)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        self._boundary = self._boundary[rows]
        for state in self._states:
            state.keep(rows)

    def close(self) -> None:
        for state in self._states:
            state.close()
