"""Splicing: one model decides at every sentence boundary what kind of sentence comes next, another writes it.

Because a parser knows which token is the decision, the effect of *when* (onset policy) and *how* (executor)
can be had by exact simulation, without any intervention on activations: the truth an instrument is measured
against.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reasonmech.errors import MismatchError
from reasonmech.hosts import Host
from reasonmech.organisms.ground_truth.dial import Dial, Factor, thinking_turns
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.decoding.host_decoder import HostDecoder, HostState
from reasonmech.shapes import Mask, NextLogits, Tokens
from reasonmech.tasks import tasks
from reasonmech.tasks.chain.grammar import EOS, ONSET_WORDS

_FULL_STOP: Final = "."


def splice(*, onset: Host | Dial, executor: Host | Dial, task: str = "chain") -> SplicedDecoder:
    """A generator with exact truth: `onset` decides the kind of every sentence, `executor` writes it.

        rm.generate(splice(onset=pair.thinking, executor=pair.base), problems)
        rm.generate(splice(onset=Dial(pair.base, pair.thinking, 0.25), executor=pair.base), problems)

    Args:
        onset, executor: a model, or a `Dial` between two, which is drawn anew for every sentence; the draws
            of the two factors are independent.
        task: whose sentences are meant; its `onset_words` are what is decided between.

    Raises:
        UnknownNameError: no such task.
        MismatchError: a model does not know the task's words.
    """
    return SplicedDecoder(onset, executor, onset_words=tuple(tasks.get(task).onset_words.values()))


@final
class SplicedDecoder:
    """Decoder: `onset` chooses each sentence's first word (an onset word, or the end), `executor` the rest.

    With onset and executor the same model this is its free run with its choice made over sentence kinds, not
    tokens.

    Raises:
        MismatchError: the vocabulary lacks an onset word, the full stop or the end.
    """

    def __init__(
        self,
        onset: Host | Dial,
        executor: Host | Dial,
        *,
        onset_words: Collection[str] = tuple(ONSET_WORDS.values()),
    ) -> None:
        self.onset, self.executor = _as_dial(onset), _as_dial(executor)
        vocabulary = self.executor.base.tokenizer.get_vocab()
        missing = sorted({*onset_words, EOS, _FULL_STOP} - vocabulary.keys())
        if missing:
            raise MismatchError(
                f"{self.executor.base.name!r} has no token for {', '.join(missing)}",
                do="splice models of the world that the task is posed in",
            )
        self.kinds = torch.tensor([vocabulary[word] for word in (*onset_words, EOS)])
        self.full_stop = vocabulary[_FULL_STOP]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.executor.base.tokenizer

    @property
    def eos_id(self) -> int | None:
        return self.executor.base.eos_id

    @property
    def pad_id(self) -> int:
        return self.executor.base.pad_id

    @property
    def n_positions(self) -> int:
        return min(
            host.n_positions for dial in (self.onset, self.executor) for host in (dial.base, dial.thinking)
        )

    @property
    def device(self) -> torch.device:
        return self.executor.base.device

    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> SplicedState:
        hosts = {id(host): host for dial in (self.executor, self.onset) for host in dial.hosts}
        states = {
            key: HostDecoder(host).start(prompts, mask, rows, max_new_tokens) for key, host in hosts.items()
        }
        return SplicedState(self, states, rows)


def _as_dial(source: Host | Dial) -> Dial:
    return source if isinstance(source, Dial) else Dial(source, source, 0.0)


@final
class SplicedState:
    """All models that have a say, in lockstep over the same text."""

    def __init__(self, decoder: SplicedDecoder, states: dict[int, HostState], rows: list[RowInfo]) -> None:
        self._decoder, self._states = decoder, states
        self._keys = torch.tensor([row.key for row in rows])
        self._sentence = torch.zeros(len(rows), dtype=torch.long)
        self._boundary = torch.ones(len(rows), dtype=torch.bool)

    def next_logits(self) -> NextLogits:
        by_host = {key: state.next_logits() for key, state in self._states.items()}
        logits = self._take_turns(by_host, self._decoder.executor, "executor")
        onset = self._take_turns(by_host, self._decoder.onset, "onset")
        kinds, boundary = self._decoder.kinds.to(logits.device), self._boundary.to(logits.device)
        # At a boundary nothing but the first word of a sentence, or the end, can be chosen.
        only_kinds = torch.full_like(onset, -torch.inf)
        only_kinds[:, kinds] = onset[:, kinds].to(only_kinds.dtype)
        return torch.where(boundary[:, None], only_kinds, logits)

    def _take_turns(self, by_host: dict[int, NextLogits], dial: Dial, factor: Factor) -> NextLogits:
        """Row by row the logits of the model whose turn it is."""
        if len(dial.hosts) == 1:
            return by_host[id(dial.hosts[0])]
        thinking = thinking_turns(self._keys, self._sentence, share=dial.share, factor=factor)
        base = by_host[id(dial.base)]
        return torch.where(
            thinking.to(base.device)[:, None], by_host[id(dial.thinking)].to(base.device), base
        )

    def steered(self) -> Bool[Tensor, " batch"]:
        """Nothing is steered: decisions are replaced, activations are not."""
        return torch.zeros(len(self._boundary), dtype=torch.bool)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._boundary = tokens.cpu() == self._decoder.full_stop
        self._sentence = self._sentence + self._boundary
        for state in self._states.values():
            state.advance(tokens)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        self._boundary, self._sentence, self._keys = (
            self._boundary[rows],
            self._sentence[rows],
            self._keys[rows],
        )
        for state in self._states.values():
            state.keep(rows)

    def close(self) -> None:
        for state in self._states.values():
            state.close()
