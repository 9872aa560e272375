"""Controller: what a hybrid looks at before each token of each row, and what it decides."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from reasonmech.hosts import ModelPair
from reasonmech.hybrid.executors import ClampFeatures, Takeover
from reasonmech.hybrid.log import ChoiceLog
from reasonmech.hybrid.parts import (
    Executor,
    HybridGate,
    KnowsEnds,
    Moment,
    NamesCategories,
    ReadStream,
    Selector,
    WritesAt,
)
from reasonmech.kinds import Kinds, KindTracker, with_ends
from reasonmech.runtime.decoding.decode import choose
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.rerun import CleanPast
from reasonmech.runtime.served import NO_LAYER, last_unread
from reasonmech.shapes import NextLogits


class Parts(NamedTuple):
    """What a hybrid is made of (see `Hybrid`)."""

    pair: ModelPair
    gate: HybridGate
    selector: Selector
    executor: Executor
    kinds: Kinds
    log: ChoiceLog | None


class PlaceInText(NamedTuple):
    """Where every row of a batch stood before a token, to put rows back there."""

    tracker: KindTracker
    sentence: Int[Tensor, " batch"]
    position: Int[Tensor, " batch"]


def watched_layer(executor: Executor) -> int:
    """The last block that need not run again when an executor steers; -1: all must."""
    return last_unread(executor.site) if isinstance(executor, WritesAt) else NO_LAYER


@final
class Controller:
    """The rows of a batch, each before its next token; rows may be at different places.

    Attributes:
        rows_of_both: tokens that both models have: a token of one model alone, in a vocabulary that is padded
            further, could not be read by the other.
    """

    def __init__(self, parts: Parts, rows: list[RowInfo]) -> None:
        base, thinking = parts.pair.base, parts.pair.thinking
        ends = tuple(dict.fromkeys((*base.eos_ids, *thinking.eos_ids)))
        self._parts = parts
        self._tracker = with_ends(parts.kinds, ends).track(len(rows))
        self._gate = parts.gate.with_ends(ends) if isinstance(parts.gate, KnowsEnds) else parts.gate
        self._keys = torch.tensor([row.key for row in rows])
        self._position = torch.tensor([row.draw_start for row in rows])
        self._temperature = rows[0].temperature
        self._rows = list(rows)
        self._sentence = torch.full((len(rows),), -1)  # of the last token; nothing is written yet
        self.rows_of_both = min(base.vocab_size, thinking.vocab_size)
        self._ends_of_base = torch.tensor(base.eos_ids, dtype=torch.long)
        self._ends = torch.tensor(thinking.eos_ids, dtype=torch.long)

    def choose(self, logits: NextLogits, *, ahead: int = 0) -> Int[Tensor, " batch"]:
        """The token that each row takes from these logits, `ahead` tokens after where it stands; CPU."""
        keys, position = self._keys.to(logits.device), (self._position + ahead).to(logits.device)
        return choose(logits, temperature=self._temperature, keys=keys, position=position).tokens.cpu()

    def moment(
        self, base: NextLogits, thinking: NextLogits, stream: ReadStream, thinking_stream: ReadStream
    ) -> Moment:
        """What there is to look at, of the next-token logits of both models, on one device."""
        base_choice, thinking_choice = self.choose(base), self.choose(thinking)
        base_alone_ends = torch.isin(thinking_choice, self._ends_of_base)
        return Moment(
            base,
            thinking,
            base_choice=base_choice,
            thinking_choice=thinking_choice,
            category=self._tracker.category(thinking_choice),
            base_alone_ends=base_alone_ends & ~torch.isin(thinking_choice, self._ends),
            boundary=self._tracker.boundary,
            keys=self._keys,
            position=self._position,
            temperature=self._temperature,
            base_category=self._tracker.category(base_choice),
            sentence=self._sentence + self._tracker.boundary.long(),
            rows=self._rows,
            stream=stream,
            thinking_stream=thinking_stream,
        )

    def decide(self, moment: Moment) -> tuple[Bool[Tensor, " batch"], Int[Tensor, " batch"]]:
        """Which rows are steered, and the category that the selector names for each."""
        executor, opened = self._parts.executor, self._gate.opens(moment)
        if isinstance(executor, ClampFeatures):
            opened = opened & moment.boundary
        selector = self._parts.selector
        if isinstance(selector, NamesCategories) and not opened.any():  # it may cost a pass
            return opened, torch.zeros_like(moment.category)
        category = selector.select(moment)
        return opened & executor.covers(category), category

    def steer(
        self, moment: Moment, context: CleanPast, rows: Int[Tensor, " row"], category: Int[Tensor, " row"]
    ) -> NextLogits:
        """Logits of the rows that are steered, written into the log."""
        parts = self._parts
        steered = parts.executor.execute(moment, context, rows, category)
        steered = steered[:, : self.rows_of_both].to(moment.base)
        if parts.log is not None:
            handed_over = isinstance(parts.executor, Takeover)
            parts.log.record(moment, rows, category, steered, handed_over=handed_over)
        return steered

    def ended(self, tokens: Int[Tensor, " batch"], steered: Bool[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Rows whose text these tokens end; where a token is handed over it is the thinking model's."""
        by_base = torch.isin(tokens, self._ends_of_base)
        if isinstance(self._parts.executor, Takeover):
            by_base &= ~steered
        return by_base | torch.isin(tokens, self._ends)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        """Append one token (CPU) to every row."""
        self._sentence = self._sentence + self._tracker.boundary.long()
        self._tracker.advance(tokens)
        self._position = self._position + 1

    def place(self) -> PlaceInText:
        """Where every row stands now."""
        return PlaceInText(self._tracker.copy(), self._sentence, self._position)

    def put(self, rows: Int[Tensor, " row"], place: PlaceInText, others: Int[Tensor, " row"]) -> None:
        """Put rows where the rows `others` of a batch stood."""
        self._tracker.put(rows, place.tracker, others)
        self._sentence = self._sentence.index_copy(0, rows, place.sentence[others])
        self._position = self._position.index_copy(0, rows, place.position[others])

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """Drop all rows but these."""
        self._tracker.select(rows)
        self._keys, self._position = self._keys[rows], self._position[rows]
        self._sentence = self._sentence[rows]
        self._rows = [self._rows[i] for i in rows.tolist()]
