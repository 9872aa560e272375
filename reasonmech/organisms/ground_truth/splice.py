"""Splicing: one model decides at every sentence boundary what kind of sentence comes next, another writes it.

Because a parser knows which token is the decision, the effect of *when* (onset policy) and *how* (executor)
can be had by exact simulation, without any intervention on activations: the truth an instrument is measured
against.
"""

from __future__ import annotations

from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.hosts import Host
from reasonmech.kinds import Kinds, Openings, with_ends
from reasonmech.organisms.ground_truth.dial import Dial, Factor, thinking_turns
from reasonmech.ranges import Positive
from reasonmech.rollout import OTHER
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.decoding.host_decoder import HostDecoder, HostState
from reasonmech.runtime.decoding.prompts import read_by
from reasonmech.shapes import Mask, NextLogits, Tokens
from reasonmech.tasks import tasks

_ALL: Final = slice(None)


@checked
def splice(*, onset: Host | Dial, executor: Host | Dial, task: str = "chain") -> SplicedDecoder:
    """A generator with exact truth: `onset` decides the kind of every sentence, `executor` writes it.

        rm.generate(splice(onset=pair.thinking, executor=pair.base), problems)
        rm.generate(splice(onset=Dial(pair.base, pair.thinking, 0.25), executor=pair.base), problems)

    Args:
        onset, executor: a model, or a `Dial` between two, which is drawn anew for every sentence; the draws
            of the two factors are independent.
        task: whose sentences are meant; its kinds are what is decided between.

    Raises:
        ArgumentError: neither a host nor a dial.
        UnknownNameError: no such task.
        DataError: a model does not know the task's words.
    """
    return SplicedDecoder(
        onset, executor, kinds=tasks.get(task).kinds(_as_dial(executor, "executor").base.tokenizer)
    )


@final
class SplicedDecoder:
    """Decoder: `onset` chooses the kind of each sentence, `executor` every word of it.

    A kind is as probable as all of its first tokens together; at a temperature T it is drawn from these sums
    to the power of 1/T. With onset and executor the same model this is its free run with its choice made over
    sentence kinds, not tokens. It needs kinds that a first token decides, whatever was written before: those
    of a chain world.

    Attributes:
        rows: tokens that all its models have: vocabularies may be padded differently.
    """

    def __init__(self, onset: Host | Dial, executor: Host | Dial, *, kinds: Kinds) -> None:
        self.onset, self.executor = _as_dial(onset, "onset"), _as_dial(executor, "executor")
        self._kinds = kinds
        self.rows = min(host.vocab_size for host in self.readers)

    def __repr__(self) -> str:
        return f"SplicedDecoder({self.writer})"

    @property
    def kinds(self) -> Kinds:
        """What is decided between, the ends of text that its models have now among them."""
        return with_ends(self._kinds, self.eos_ids)

    @property
    def openings(self) -> Openings:
        """Tokens that begin a sentence of some kind, by kind; the end of the text is one."""
        return Openings(self.kinds, self.rows, without=(OTHER,))

    @property
    def writer(self) -> str:
        """Which model decides and which writes, which its rollouts say (`Rollouts.writer`)."""
        return f"onset {self.onset.words}, executor {self.executor.words}"

    @property
    def readers(self) -> tuple[Host, ...]:
        """The executor's base, then every other model that has a say."""
        hosts = (self.executor.base, *self.executor.hosts, *self.onset.hosts)
        return tuple({id(host): host for host in hosts}.values())

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.executor.base.tokenizer

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ends of the executor's text, then those of the onset's: a sentence may be the end by either."""
        hosts = [host for dial in (self.executor, self.onset) for host in (dial.base, dial.thinking)]
        return tuple(dict.fromkeys(i for host in hosts for i in host.eos_ids))

    @property
    def pad_id(self) -> int:
        return self.executor.base.pad_id

    @property
    def device(self) -> torch.device:
        return self.executor.base.device

    @checked
    def start(
        self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: Positive
    ) -> SplicedState:
        hosts = {id(host): host for dial in (self.executor, self.onset) for host in dial.hosts}
        states = {
            key: HostDecoder.of(host).start(*read_by(host, prompts, mask, rows), max_new_tokens)
            for key, host in hosts.items()
        }
        return SplicedState(self, states, rows)


def _as_dial(source: Host | Dial, factor: Factor) -> Dial:
    check_type(
        source, (Host, Dial), name=factor, allowed="a Host, or a Dial between two", do=f"{factor}=pair.base"
    )
    return source if isinstance(source, Dial) else Dial(source, source, 0.0)


@final
class SplicedState:
    """All models that have a say, in lockstep over the same text."""

    def __init__(self, decoder: SplicedDecoder, states: dict[int, HostState], rows: list[RowInfo]) -> None:
        self._decoder, self._states = decoder, states
        self._keys = torch.tensor([row.key for row in rows])
        self._temperature = rows[0].temperature
        self._ends = torch.tensor(decoder.eos_ids, dtype=torch.long)
        self._sentence = torch.zeros(len(rows), dtype=torch.long)
        self._tracker, self._openings = decoder.kinds.track(len(rows)), decoder.openings

    def next_logits(self) -> NextLogits:
        shared, boundary = self._decoder.rows, self._tracker.boundary
        executing = {id(host) for host in self._decoder.executor.hosts}
        by_host = {key: self._states[key].next_logits()[:, :shared] for key in executing}
        logits = self._take_turns(by_host, self._decoder.executor, "executor")
        # who decides alone is asked where a sentence begins
        deciding = {
            key: by_host[key][boundary.to(by_host[key].device)]
            if key in executing
            else state.next_logits_of(boundary)[:, :shared]
            for key, state in self._states.items()
        }
        if not boundary.any():
            return logits.float()
        # At a boundary nothing but the first word of a sentence, or the end, can be chosen.
        openings, at_boundary = self._openings, boundary.nonzero().flatten().to(logits.device)
        kinds = openings.of_kinds(self._take_turns(deciding, self._decoder.onset, "onset", boundary))
        first = openings.compose(kinds, logits[at_boundary], temperature=self._temperature)
        return logits.float().index_copy(0, at_boundary, first)

    def _take_turns(
        self,
        by_host: dict[int, NextLogits],
        dial: Dial,
        factor: Factor,
        rows: Bool[Tensor, " batch"] | slice = _ALL,
    ) -> NextLogits:
        """Row by row the logits of the model whose turn it is; `rows`: those that they are of."""
        if len(dial.hosts) == 1:
            return by_host[id(dial.hosts[0])]
        keys, sentence = self._keys[rows], self._sentence[rows]
        thinking = thinking_turns(keys, sentence, share=dial.share, factor=factor)
        base = by_host[id(dial.base)]
        return torch.where(
            thinking.to(base.device)[:, None], by_host[id(dial.thinking)].to(base.device), base
        )

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return torch.isin(tokens, self._ends)

    def steered(self) -> Bool[Tensor, " batch"]:
        """Nothing is steered: decisions are replaced, activations are not."""
        return torch.zeros(len(self._keys), dtype=torch.bool)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._tracker.advance(tokens.cpu())
        self._sentence = self._sentence + self._tracker.boundary
        for state in self._states.values():
            state.advance(tokens)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._tracker.select(rows)
        self._sentence, self._keys = self._sentence[rows], self._keys[rows]
        for state in self._states.values():
            state.select(rows)

    def close(self) -> None:
        for state in self._states.values():
            state.close()
