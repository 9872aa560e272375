"""The base without a controller: behind another prompt, or sampled sharply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.problem import Problem
from reasonmech.runtime.decoding.decoder import DecoderState, RowInfo
from reasonmech.runtime.decoding.host_decoder import HostDecoder, OfHost
from reasonmech.runtime.decoding.noise import gumbel
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

    @checked
    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> DecoderState:
        reworded = [row._replace(problem=self._reword(row)) for row in rows]
        return HostDecoder.of(self.host).start(*read_by(self.host, prompts, mask, reworded), max_new_tokens)

    def _reword(self, row: RowInfo) -> Problem:
        return replace(row.problem, prompt=self.template.replace(PROBLEM, row.problem.prompt))


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

    @checked
    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> DecoderState:
        state = HostDecoder.of(self.host).start(prompts, mask, rows, max_new_tokens)
        return _SharpenedState(state, rows, self.temperature)


@final
class _SharpenedState:
    """Logits whose choice by `decode.choose` is a sample at the sharper temperature."""

    def __init__(self, state: DecoderState, rows: Sequence[RowInfo], temperature: float) -> None:
        self._state, self._sharp = state, temperature
        self._temperature = rows[0].temperature
        self._keys = torch.tensor([row.key for row in rows])
        self._position = torch.tensor([row.prompt_length for row in rows])

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
