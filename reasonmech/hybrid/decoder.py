"""Hybrid: a base model in lockstep with its thinking sibling, steered at the moments that a gate picks."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import Host, ModelPair
from reasonmech.hybrid.controller import Controller, Parts, watched_layer
from reasonmech.hybrid.drafting import DraftingState
from reasonmech.hybrid.log import ChoiceLog
from reasonmech.hybrid.parts import Executor, HybridGate, NamesCategories, OfOneModel, Selector, check_part
from reasonmech.kinds import Kinds
from reasonmech.ranges import Positive
from reasonmech.runtime.decoding.decoder import DecoderState, RowInfo
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.decoding.prompts import read_by
from reasonmech.runtime.rerun import stream_at
from reasonmech.runtime.served import NO_LAYER
from reasonmech.shapes import Mask, NextLogits, Tokens
from reasonmech.site import Site
from reasonmech.tasks import tasks


@final
class Hybrid:
    """The base model writes; where the gate opens, the executor changes what it writes next.

    Give it to `generate` like a host. Keys and values of a steered position are not kept: what follows reads
    a clean past (position-isolated steering). Tokens flagged as steered are those the executor acted on.
    Clamped features act where a sentence begins, whatever the gate: in the middle of one, a feature that goes
    with an onset word would begin the next, again and again. What it writes is in the names that the thinking
    model gives tokens: text, stop strings and kinds.
    A text ends at an end of either model; where `Takeover` lets the thinking model write, at its own alone.

    Args:
        gate: when. selector: which category. executor: what is done to the base.
        kinds: the categories; those of the pair's task by default.
        log: is told what the controller decided; None where nobody asks.

    Raises:
        ArgumentError: no pair, or a part that is none (a class instead of an instance of it, say).
        MismatchError: when it writes, an executor that was made for another base or other kinds.
        DataError: there are no kinds to track: the pair names no task, or the task's have no tokens here.
    """

    def __init__(
        self,
        pair: ModelPair,
        *,
        gate: HybridGate,
        selector: Selector,
        executor: Executor,
        kinds: Kinds | None = None,
        log: ChoiceLog | None = None,
    ) -> None:
        check_type(pair, ModelPair, name="pair", allowed="a pair: rm.load_pair(...)")
        self.pair = pair
        self.gate = check_part(gate, HybridGate, name="gate")
        self.selector = check_part(selector, Selector, name="selector")
        self.executor = check_part(executor, Executor, name="executor")
        self.kinds = kinds_of(pair) if kinds is None else check_part(kinds, Kinds, name="kinds")
        self.log, self.draft = log, 1

    def __repr__(self) -> str:
        return f"Hybrid({self.pair.name!r}: {self._words})"

    @property
    def parts(self) -> Parts:
        """What a controller of its texts is made of."""
        return Parts(self.pair, self.gate, self.selector, self.executor, self.kinds, self.log)

    @property
    def categories(self) -> tuple[str, ...]:
        """What the selector tells apart: kinds of sentence, or what a partition of the stream found."""
        return self.selector.categories if isinstance(self.selector, NamesCategories) else self.kinds.names

    @property
    def _words(self) -> str:
        return ", ".join(type(part).__name__ for part in (self.gate, self.selector, self.executor))

    @property
    def writer(self) -> str:
        """Who is steered beside whom and by what, which its rollouts say (`Rollouts.writer`)."""
        return f"{self.pair.base.name!r} steered beside {self.pair.thinking.name!r} by {self._words}"

    def logged(self, log: ChoiceLog) -> Hybrid:
        """The same hybrid, whose controller's decisions are written into `log`."""
        return self._again(log, self.draft)

    @checked
    def drafting(self, draft: Positive) -> Hybrid:
        """The same hybrid, whose base writes several tokens that the thinking model checks in one pass; what
        stands behind the first steered one is thrown away.

        It changes speed, and no token: faster where a pass takes as long for many tokens as for one (few
        rows, a small model), slower where it does not.

        Args:
            draft: tokens that are written ahead; 1: none but the next.

        Raises:
            ArgumentError: no number of tokens.
        """
        return self._again(self.log, draft)

    def _again(self, log: ChoiceLog | None, draft: int) -> Hybrid:
        parts = {"gate": self.gate, "selector": self.selector, "executor": self.executor}
        hybrid = Hybrid(self.pair, **parts, kinds=self.kinds, log=log)
        hybrid.draft = draft
        return hybrid

    @property
    def readers(self) -> tuple[Host, ...]:
        return (self.pair.base, self.pair.thinking)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The thinking model's: both have the generated ids, and graders know tags by its names."""
        return self.pair.thinking.tokenizer

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ends of the base's text, then those of the thinking model's."""
        return tuple(dict.fromkeys((*self.pair.base.eos_ids, *self.pair.thinking.eos_ids)))

    @property
    def pad_id(self) -> int:
        return self.pair.base.pad_id

    @property
    def device(self) -> torch.device:
        return self.pair.base.device

    @checked
    def start(
        self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: Positive
    ) -> DecoderState:
        if isinstance(self.executor, OfOneModel):
            self.executor.check(self.pair.base, self.categories)
        if isinstance(self.selector, NamesCategories):
            self.selector.check_thinking(self.pair.thinking)
        batch = (prompts, mask, rows, max_new_tokens)
        if self.draft > 1:
            return DraftingState(self.parts, *batch, draft=self.draft)
        return HybridState(self, *batch)


def kinds_of(pair: ModelPair) -> Kinds:
    """Kinds of sentence of the pair's task, in the thinking model's tokens. Raises DataError where it names
    no task."""
    if pair.task is None:
        raise DataError(
            f"pair {pair.name!r} names no task", do="pass kinds=, or add `task:` to the pair's YAML"
        )
    return tasks.get(pair.task).kinds(pair.thinking.tokenizer)


@final
class HybridState:
    """A batch of the pair in flight: both caches hold the same, clean text, the prompt in own tokens."""

    @checked
    def __init__(self, hybrid: Hybrid, prompts: Tokens, mask: Mask, rows: list[RowInfo], room: int) -> None:
        self._host = hybrid.pair.base
        self._base = HostDecoder.of(self._host).start(prompts, mask, rows, room)
        if (layer := watched_layer(hybrid.executor)) > NO_LAYER:
            self._base.watch(layer)
        thinking = hybrid.pair.thinking
        self._thinking = HostDecoder.of(thinking).start(*read_by(thinking, prompts, mask, rows), room)
        self._reader = thinking
        if isinstance(hybrid.selector, NamesCategories):
            self._thinking.watch(thinking.check_site(hybrid.selector.reads_thinking_at).layer)
        self._controller = Controller(hybrid.parts, rows)
        self._steered = torch.zeros(len(rows), dtype=torch.bool)

    def _stream(self, rows: Int[Tensor, " row"], site: Site) -> Float[Tensor, "row d_model"]:
        past = self._base.clean_past().select(rows.to(self._host.device), site=site)
        return stream_at(self._host, past, site)

    def _thinking_stream(self, rows: Int[Tensor, " row"], site: Site) -> Float[Tensor, "row d_model"]:
        past = self._thinking.clean_past()
        if past.known is not None and site == Site("resid_post", past.known.layer):
            return past.known.stream[rows.to(past.known.stream.device), 0]
        return stream_at(self._reader, past.select(rows.to(self._reader.device), site=site), site)

    def next_logits(self) -> NextLogits:
        of_both = slice(None, self._controller.rows_of_both)
        base = self._base.next_logits()[:, of_both]
        thinking = self._thinking.next_logits()[:, of_both].to(self._host.device)
        moment = self._controller.moment(base, thinking, self._stream, self._thinking_stream)
        self._steered, category = self._controller.decide(moment)
        rows = self._steered.nonzero()[:, 0]
        if len(rows) == 0:
            return moment.base
        steered = self._controller.steer(moment, self._base.clean_past(), rows, category[rows])
        return moment.base.index_copy(0, rows.to(moment.base.device), steered)

    def steered(self) -> Bool[Tensor, " batch"]:
        return self._steered

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self._controller.ended(tokens, self._steered)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._controller.advance(tokens.cpu())
        self._base.advance(tokens)
        self._thinking.advance(tokens)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._controller.select(rows)
        self._steered = self._steered[rows]
        self._base.select(rows)
        self._thinking.select(rows)

    def close(self) -> None:
        self._base.close()
        self._thinking.close()
