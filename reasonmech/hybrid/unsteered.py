"""The base without a controller: behind another prompt, sampled sharply, or not allowed to end yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hosts.prompt import reworded
from reasonmech.kinds import Kinds, opening_categories, with_ends
from reasonmech.problem import Problem
from reasonmech.rollout import STOP
from reasonmech.runtime.decoding.decoder import DecoderState, RowInfo
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.decoding.noise import gumbel
from reasonmech.runtime.decoding.of_host import OfHost
from reasonmech.runtime.decoding.prompts import read_by
from reasonmech.shapes import Mask, NextLogits, Tokens

PROBLEM: Final = "{problem}"
_SALT: Final = 0x5EED_0004


class _Unsteered(OfHost):
    """A decoder of one untouched host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @property
    def host(self) -> Host:
        return self._host


@final
class Prompted(_Unsteered):
    """The host behind another prompt. A rollout's `prompt_ids` stay those of the problem's own prompt.

    Args:
        template: the prompt, with "{problem}" where the problem's own stands: "careful {problem}".

    Raises:
        DataError: a template in which the problem does not stand once.
    """

    @checked
    def __init__(self, host: Host, template: str) -> None:
        super().__init__(host)
        if template.count(PROBLEM) != 1 or template == PROBLEM:
            raise DataError(
                f"a prompt {template!r}",
                allowed=f"a text around {PROBLEM}, once, such as 'Think step by step. {PROBLEM}'",
            )
        self.template = template

    def __repr__(self) -> str:
        return f"Prompted({self.host.name!r}, {self.template!r})"

    @property
    def writer(self) -> str:
        return f"{self.host.name!r} behind the prompt {self.template!r}"

    @checked
    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> DecoderState:
        reworded = [row._replace(problem=self._reword(row)) for row in rows]
        return HostDecoder.of(self.host).start(*read_by(self.host, prompts, mask, reworded), max_new_tokens)

    def _reword(self, row: RowInfo) -> Problem:
        return reworded(row.problem, self.template, PROBLEM)


@final
class Sharpened(_Unsteered):
    """The host sampled at a temperature of its own, whatever the run decodes at; 1 / temperature is the
    exponent of its distribution of the next token.

    Raises:
        DataError: a temperature that is not positive.
    """

    @checked
    def __init__(self, host: Host, temperature: float) -> None:
        super().__init__(host)
        if not temperature > 0:
            raise DataError(f"a base sharpened to temperature {temperature}", allowed="more than 0")
        self.temperature = temperature

    def __repr__(self) -> str:
        return f"Sharpened({self.host.name!r}, temperature {self.temperature:g})"

    @property
    def writer(self) -> str:
        return f"{self.host.name!r} sharpened to temperature {self.temperature:g}"

    @checked
    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> DecoderState:
        state = HostDecoder.of(self.host).start(prompts, mask, rows, max_new_tokens)
        return _SharpenedState(state, rows, self.temperature)


@final
class KeptGoing(_Unsteered):
    """The host, which may not state an answer or end before its text has a length of its own: where a
    sentence begins before that, first words of these kinds have no chance.

    Args:
        lengths: (problem id, sample) -> tokens of the text, the environment's among them.
        answer: categories that state an answer.
    """

    @checked
    def __init__(
        self, host: Host, kinds: Kinds, lengths: Mapping[tuple[str, int], int], answer: tuple[int, ...]
    ) -> None:
        super().__init__(host)
        self._kinds, self.lengths, self.answer = kinds, lengths, answer

    def __repr__(self) -> str:
        return f"KeptGoing({self.host.name!r}, {len(self.lengths)} lengths)"

    @property
    def writer(self) -> str:
        return f"{self.host.name!r} kept going to the lengths of {len(self.lengths)} texts"

    @property
    def kinds(self) -> Kinds:
        """What sentences may be, the ends of text that the host has now among them."""
        return with_ends(self._kinds, self.host.eos_ids)

    @property
    def barred(self) -> Bool[Tensor, " token"]:
        """First words that would end a text too early, by the ends that the host has now."""
        kinds, ends = self.kinds, list(self.host.eos_ids)
        ending = (*self.answer, *(i for i, name in enumerate(kinds.names) if name == STOP))
        barred = torch.isin(opening_categories(kinds, self.host.vocab_size), torch.tensor(ending))
        barred[ends] = True
        return barred

    @checked
    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> DecoderState:
        return _GoingState(self, HostDecoder.of(self.host).start(prompts, mask, rows, max_new_tokens), rows)

    def length(self, row: RowInfo) -> int:
        """Raises DataError where nobody said how long this text is to be."""
        length = self.lengths.get((row.problem.id, row.sample))
        if length is None:
            raise DataError(
                f"no length for problem {row.problem.id!r}, sample {row.sample}",
                do="let the thinking model answer the same problems first",
            )
        return length


@final
class _GoingState:
    """Logits without the words that would end a text too early; `steered` where the likeliest was one."""

    def __init__(self, decoder: KeptGoing, state: DecoderState, rows: Sequence[RowInfo]) -> None:
        self._state, self._barred = state, decoder.barred
        self._left = torch.tensor([decoder.length(row) for row in rows])
        self._tracker = decoder.kinds.track(len(rows))
        self._steered = torch.zeros(len(rows), dtype=torch.bool)

    def next_logits(self) -> NextLogits:
        logits, held = self._state.next_logits(), self._tracker.boundary & (self._left > 1)
        barred = self._barred.to(logits.device)
        self._steered = held & barred[logits.argmax(-1)].cpu()
        return logits.masked_fill(held.to(logits.device)[:, None] & barred[None, :], -torch.inf)

    def steered(self) -> Bool[Tensor, " batch"]:
        return self._steered

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self._state.ended(tokens)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._left = self._left - 1
        self._tracker.advance(tokens.cpu())
        self._state.advance(tokens)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._tracker.select(rows)
        self._left, self._steered = self._left[rows], self._steered[rows]
        self._state.select(rows)

    def close(self) -> None:
        self._state.close()


@final
class _SharpenedState:
    """Logits whose choice by `decode.choose` is a sample at the sharper temperature."""

    def __init__(self, state: DecoderState, rows: Sequence[RowInfo], temperature: float) -> None:
        self._state, self._sharp = state, temperature
        self._temperature = rows[0].temperature
        self._keys = torch.tensor([row.key for row in rows])
        self._position = torch.tensor([row.draw_start for row in rows])

    def next_logits(self) -> NextLogits:
        logits = self._state.next_logits().float()
        if self._temperature > 0:  # the run's own noise is added to logits / its temperature
            return logits * (self._temperature / self._sharp)
        keys, position = self._keys.to(logits.device) ^ _SALT, self._position.to(logits.device)
        return logits / self._sharp + gumbel(keys, position, logits.shape[-1])

    def steered(self) -> Bool[Tensor, " batch"]:
        return self._state.steered()

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self._state.ended(tokens)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._position = self._position + 1
        self._state.advance(tokens)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._keys, self._position = self._keys[rows], self._position[rows]
        self._state.select(rows)

    def close(self) -> None:
        self._state.close()
