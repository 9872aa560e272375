"""Decoder: what `generate` drives, be it one host under a plan or a base/thinking pair in lockstep."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reasonmech.hosts.host import Host
from reasonmech.problem import Problem
from reasonmech.shapes import Mask, NextLogits, Tokens


class RowInfo(NamedTuple):
    """One row of a batch.

    Attributes:
        index: number of the row in the whole run (problem-major, then sample).
        key: of the row's sampling noise (`noise.gumbel`), for gates that compare draws under common random
            numbers.
        prompt_length: tokens, padding excluded.
        draw_start: position of the first new token in the row's sampling noise: `prompt_length`, unless the
            model's own prompt stands around the problem's (`draw_starts`).
        temperature: at which tokens are drawn; 0 is greedy.
    """

    index: int
    problem: Problem
    sample: int
    key: int
    prompt_length: int
    draw_start: int
    temperature: float


@runtime_checkable
class DecoderState(Protocol):
    """A batch in flight. One round: next_logits, steered, ended, then advance, then perhaps select."""

    def next_logits(self) -> NextLogits:
        """Logits of the next token of every row, after the prompt and all tokens advanced by so far."""
        ...

    def steered(self) -> Bool[Tensor, " batch"]:
        """Rows in which a gate was open at the position whose logits `next_logits` returned last."""
        ...

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Rows whose text these tokens (CPU) end, by the ends of the model that wrote them."""
        ...

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        """Append one token to every row (CPU or device)."""
        ...

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Drop all rows but these (CPU), in their order. Called after `advance`, before `next_logits`."""
        ...

    def close(self) -> None:
        """Undo everything done to a model (hooks removed); called once, after an exception too."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Anything that turns a batch of prompts into next-token logits, row by row independent of the batch."""

    @property
    def readers(self) -> tuple[Host, ...]:
        """The models that read the text; a rollout's prompt is in tokens of the first."""
        ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Names what is written: a rollout's text, stop strings, the words of an environment."""
        ...

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Every token that may end a text."""
        ...

    @property
    def pad_id(self) -> int: ...
    @property
    def device(self) -> torch.device: ...

    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> DecoderState:
        """Begin a batch of left-padded prompts (CPU tensors); nothing is computed before `next_logits`.

        They are tokens of the first reader; another one reads `prompts.read_by`.
        """
        ...


@runtime_checkable
class NamedWriter(Protocol):
    """A decoder that is more than a host under a plan: its rollouts say who wrote them and how."""

    @property
    def writer(self) -> str:
        """In words: "onset 'a', executor 'b'"."""
        ...


def writer_of(decoder: Decoder) -> str:
    """Who writes a decoder's texts, in words; the name of its host where there is no more to say."""
    return decoder.writer if isinstance(decoder, NamedWriter) else repr(decoder.readers[0].name)
