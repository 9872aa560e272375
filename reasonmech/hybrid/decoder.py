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
from reasonmech.hybrid.executors import ClampFeatures, Takeover
from reasonmech.hybrid.log import ControllerLog
from reasonmech.hybrid.parts import Executor, HybridGate, KnowsEnds, Moment, OfOneModel, Selector, check_part
from reasonmech.kinds import Kinds, with_ends
from reasonmech.ranges import Positive
from reasonmech.runtime.decoding.decode import choose
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.decoding.prompts import read_by
from reasonmech.runtime.rerun import rerun
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
        log: ControllerLog | None = None,
    ) -> None:
        check_type(pair, ModelPair, name="pair", allowed="a pair: rm.load_pair(...)")
        self.pair = pair
        self.gate = check_part(gate, HybridGate, name="gate")
        self.selector = check_part(selector, Selector, name="selector")
        self.executor = check_part(executor, Executor, name="executor")
        self.kinds = _kinds_of(pair) if kinds is None else check_part(kinds, Kinds, name="kinds")
        self.log = log

    def __repr__(self) -> str:
        return f"Hybrid({self.pair.name!r}: {self._parts})"

    @property
    def _parts(self) -> str:
        return ", ".join(type(part).__name__ for part in (self.gate, self.selector, self.executor))

    @property
    def writer(self) -> str:
        """Who is steered beside whom and by what, which its rollouts say (`Rollouts.writer`)."""
        return f"{self.pair.base.name!r} steered beside {self.pair.thinking.name!r} by {self._parts}"

    def logged(self, log: ControllerLog) -> Hybrid:
        """The same hybrid, whose controller's decisions are written into `log`."""
        return Hybrid(
            self.pair,
            gate=self.gate,
            selector=self.selector,
            executor=self.executor,
            kinds=self.kinds,
            log=log,
        )

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
    ) -> HybridState:
        if isinstance(self.executor, OfOneModel):
            self.executor.check(self.pair.base, self.kinds.names)
        return HybridState(self, prompts, mask, rows, max_new_tokens)


def _kinds_of(pair: ModelPair) -> Kinds:
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
        self._hybrid = hybrid
        self._base = HostDecoder.of(hybrid.pair.base).start(prompts, mask, rows, room)
        thinking = hybrid.pair.thinking
        self._thinking = HostDecoder.of(thinking).start(*read_by(thinking, prompts, mask, rows), room)
        self._tracker = with_ends(hybrid.kinds, hybrid.eos_ids).track(len(rows))
        gate = hybrid.gate
        self._gate = gate.with_ends(hybrid.eos_ids) if isinstance(gate, KnowsEnds) else gate
        self._keys = torch.tensor([row.key for row in rows])
        self._position = torch.tensor([row.draw_start for row in rows])
        self._temperature = rows[0].temperature
        self._steered = torch.zeros(len(rows), dtype=torch.bool)
        self._rows = list(rows)
        self._sentence = torch.full((len(rows),), -1)  # of the last token; nothing is written yet
        # a token of one model alone, in a vocabulary that is padded further, could not be read by the other
        self._rows_of_both = min(hybrid.pair.base.vocab_size, thinking.vocab_size)
        self._ends_of_base = torch.tensor(hybrid.pair.base.eos_ids, dtype=torch.long)
        self._ends = torch.tensor(hybrid.pair.thinking.eos_ids, dtype=torch.long)

    def _moment(self) -> Moment:
        base = self._base.next_logits()[:, : self._rows_of_both]
        thinking = self._thinking.next_logits()[:, : self._rows_of_both].to(self._hybrid.device)
        keys, position = self._keys.to(base.device), self._position.to(base.device)
        chosen = [
            choose(logits, temperature=self._temperature, keys=keys, position=position).tokens.cpu()
            for logits in (base, thinking)
        ]
        category = self._tracker.category(chosen[1])
        base_alone_ends = torch.isin(chosen[1], self._ends_of_base) & ~torch.isin(chosen[1], self._ends)
        return Moment(
            base,
            thinking,
            base_choice=chosen[0],
            thinking_choice=chosen[1],
            category=category,
            base_alone_ends=base_alone_ends,
            boundary=self._tracker.boundary,
            keys=self._keys,
            position=self._position,
            temperature=self._temperature,
            base_category=self._tracker.category(chosen[0]),
            sentence=self._sentence + self._tracker.boundary.long(),
            rows=self._rows,
            stream=self._stream,
        )

    def _stream(self, rows: Int[Tensor, " row"], site: Site) -> Float[Tensor, "row d_model"]:
        """The base's stream at its last token, by running that token again, unedited."""
        read: list[Tensor] = []

        def keep(x: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
            read.append(x)
            return x

        host = self._hybrid.pair.base
        rerun(host, self._base.clean_past().select(rows.to(host.device)), site, keep)
        return read[0]

    def next_logits(self) -> NextLogits:
        moment, parts = self._moment(), self._hybrid
        category = parts.selector.select(moment)
        self._steered = self._gate.opens(moment) & parts.executor.covers(category)
        if isinstance(parts.executor, ClampFeatures):
            self._steered = self._steered & moment.boundary
        rows = self._steered.nonzero()[:, 0]
        if len(rows) == 0:
            return moment.base
        if parts.log is not None:
            handed_over = isinstance(parts.executor, Takeover)
            parts.log.record(moment, rows, category[rows], handed_over=handed_over)
        steered = parts.executor.execute(moment, self._base.clean_past(), rows, category[rows])
        steered = steered[:, : self._rows_of_both].to(moment.base.dtype)
        return moment.base.index_copy(0, rows.to(moment.base.device), steered)

    def steered(self) -> Bool[Tensor, " batch"]:
        return self._steered

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        by_base = torch.isin(tokens, self._ends_of_base)
        if isinstance(self._hybrid.executor, Takeover):  # these rows are the thinking model's text
            by_base &= ~self._steered
        return by_base | torch.isin(tokens, self._ends)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._sentence += self._tracker.boundary.long()
        self._tracker.advance(tokens.cpu())
        self._position = self._position + 1
        self._base.advance(tokens)
        self._thinking.advance(tokens)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._tracker.select(rows)
        self._keys, self._position, self._steered = (
            self._keys[rows],
            self._position[rows],
            self._steered[rows],
        )
        self._sentence = self._sentence[rows]
        self._rows = [self._rows[i] for i in rows.tolist()]
        self._base.select(rows)
        self._thinking.select(rows)

    def close(self) -> None:
        self._base.close()
        self._thinking.close()
