"""Draft and verify: the base of a hybrid writes several tokens, the thinking model checks them in one pass.

As in speculative decoding (Leviathan et al. 2023, arXiv 2211.17192), but what is kept is decided by a gate,
and what stands in place of the first token that is not is a steered one. Rows go on from where each of them
was stopped; whoever asks token by token is answered from what is there.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.hosts import Host
from reasonmech.hybrid.controller import Controller, Parts, PlaceInText, watched_layer
from reasonmech.hybrid.parts import ReadStream
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.decoding.prompts import read_by
from reasonmech.runtime.decoding.ragged_reader import RaggedReader
from reasonmech.runtime.rerun import CleanPast, stream_at
from reasonmech.shapes import Mask, NextLogits, Tokens
from reasonmech.site import Site


class DecidedToken(NamedTuple):
    """A token of one row that is decided and that nobody has asked for yet.

    Attributes:
        logits: that it was chosen from.
        before: where the rows of a batch stood before it, of which this row was number `row`.
    """

    logits: Float[Tensor, " vocab"]
    token: int
    steered: bool
    before: PlaceInText
    row: int


@final
class DraftingState:
    """A batch of the pair in flight, of which each row is as far ahead as its drafts were good."""

    def __init__(
        self, parts: Parts, prompts: Tokens, mask: Mask, rows: list[RowInfo], room: int, *, draft: int
    ) -> None:
        base, thinking = parts.pair.base, parts.pair.thinking
        theirs = read_by(thinking, prompts, mask, rows)[:2]
        self._host, self._reader, self._draft, self._room = base, thinking, draft, room
        self._controller = Controller(parts, rows)
        self._base = RaggedReader(base, prompts, mask, watch=watched_layer(parts.executor))
        self._thinking = RaggedReader(thinking, *theirs)
        self._unread = [
            prompts[:, -1],
            theirs[0][:, -1],
        ]  # of each model, the one token of a row it has yet to read
        self._n_prompt = [mask.sum(dim=1), theirs[1].sum(dim=1)]
        self._n_decided = torch.zeros(len(rows), dtype=torch.long)  # new tokens of each row
        self._over = torch.zeros(len(rows), dtype=torch.bool)  # rows whose text has ended
        self._waiting: list[deque[DecidedToken]] = [deque() for _ in rows]
        self._n_asked = 0  # new tokens that were asked for, of every row

    def next_logits(self) -> NextLogits:
        while not all(self._waiting):
            self._round()
        return torch.stack([waiting[0].logits for waiting in self._waiting])

    def _round(self) -> None:
        """Draft, verify and steer: one more token at least of every row that has none waiting."""
        # none runs away from the others by more than a draft
        few = torch.tensor([len(waiting) <= self._draft for waiting in self._waiting])
        going = few & ~self._over
        assert bool(going.any()), "a row whose text has ended was asked for more"
        drafted, base = self._drafted()
        thinking = self._checked(drafted)
        stopped_at, categories = torch.full_like(self._n_decided, -1), torch.zeros_like(self._n_decided)
        for i in range(self._draft):
            at = torch.full_like(self._n_decided, i)
            moment = self._controller.moment(base[i], thinking[:, i], *self._streams_at(at))
            opened, category = self._controller.decide(moment)
            stopped_at[opened & going], categories[opened & going] = i, category[opened & going]
            going = going & ~opened
            self._write(going, base[i], drafted[:, i], steered=False)
            going = going & ~self._over
            if not going.any():
                break
        stopped = stopped_at >= 0
        if stopped.any():
            self._steer(stopped, stopped_at.clamp(min=0), categories, base, thinking)
        self._hide_undecided()

    def _drafted(self) -> tuple[Tokens, list[NextLogits]]:
        """What the base writes by itself [row, draft], and the logits before each of these tokens."""
        tokens, logits = [self._unread[0]], []
        for ahead in range(self._draft):
            read = self._base.read(tokens[-1][:, None])[:, 0, : self._controller.rows_of_both]
            logits.append(read)
            tokens.append(self._controller.choose(read, ahead=ahead))
        return torch.stack(tokens[1:], dim=1), logits

    def _checked(self, drafted: Tokens) -> Float[Tensor, "row draft vocab"]:
        """The thinking model's logits before each drafted token, in one pass."""
        logits = self._thinking.read(torch.cat([self._unread[1][:, None], drafted[:, :-1]], dim=1))
        return logits[..., : self._controller.rows_of_both].to(self._host.device)

    def _past_at(self, i: Int[Tensor, " batch"]) -> CleanPast:
        """Of each row what the base read before drafted token `i`, the last of it apart."""
        return self._base.past_of(self._draft - 1 - i)

    def _streams_at(self, i: Int[Tensor, " batch"]) -> tuple[ReadStream, ReadStream]:
        """Read the streams of the base and of the thinking model before drafted token `i` of each row."""

        def reads(reader: RaggedReader, host: Host) -> ReadStream:
            def read(rows: Int[Tensor, " row"], site: Site) -> Float[Tensor, "row d_model"]:
                past = reader.past_of(self._draft - 1 - i)
                return stream_at(host, past.select(rows.to(host.device), site=site), site)

            return read

        return reads(self._base, self._host), reads(self._thinking, self._reader)

    def _steer(
        self,
        stopped: Bool[Tensor, " batch"],
        at: Int[Tensor, " batch"],
        categories: Int[Tensor, " batch"],
        base: list[NextLogits],
        thinking: Float[Tensor, "row draft vocab"],
    ) -> None:
        """Write the steered token of every row that was stopped."""
        rows = stopped.nonzero()[:, 0]
        before = torch.stack([base[i][row] for row, i in enumerate(at.tolist())])
        theirs = thinking[torch.arange(len(at)), at]
        moment = self._controller.moment(before, theirs, *self._streams_at(at))
        steered = self._controller.steer(moment, self._past_at(at), rows, categories[rows])
        logits = before.index_copy(0, rows.to(before.device), steered)
        self._write(stopped, logits, self._controller.choose(logits), steered=True)

    def _write(
        self,
        rows: Bool[Tensor, " batch"],
        logits: NextLogits,
        tokens: Int[Tensor, " batch"],
        *,
        steered: bool,
    ) -> None:
        """Decide the next token of some rows."""
        before = self._controller.place()
        for row in rows.nonzero()[:, 0].tolist():
            self._waiting[row].append(DecidedToken(logits[row], int(tokens[row]), steered, before, row))
        self._step(rows, tokens)
        ended = self._controller.ended(tokens, torch.full_like(rows, steered))
        self._over = self._over | rows & (ended | (self._n_decided >= self._room))

    def _step(self, rows: Bool[Tensor, " batch"], tokens: Int[Tensor, " batch"]) -> None:
        """Append a token to some rows; the others stay where they are."""
        before, others = self._controller.place(), (~rows).nonzero()[:, 0]
        self._controller.advance(tokens)
        self._controller.put(others, before, others)
        self._n_decided = self._n_decided + rows
        self._unread = [torch.where(rows, tokens, unread) for unread in self._unread]

    def _hide_undecided(self) -> None:
        """Forget what was read beyond what is decided, of which the last token is unread."""
        for reader, n_prompt in zip((self._base, self._thinking), self._n_prompt, strict=True):
            reader.hide_beyond(n_prompt - 1 + self._n_decided)

    def steered(self) -> Bool[Tensor, " batch"]:
        return torch.tensor([waiting[0].steered for waiting in self._waiting], dtype=torch.bool)

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self._controller.ended(tokens, self.steered())

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        written = [waiting.popleft() for waiting in self._waiting]
        self._n_asked += 1
        other = torch.tensor(
            [one.token != token for one, token in zip(written, tokens.tolist(), strict=True)]
        )
        if other.any():
            self._take_back(other, written, tokens.cpu())

    def _take_back(
        self, rows: Bool[Tensor, " batch"], written: list[DecidedToken], tokens: Int[Tensor, " batch"]
    ) -> None:
        """Go on, in some rows, from a token that somebody else wrote: the task's environment."""
        for row in rows.nonzero()[:, 0].tolist():
            one = written[row]
            self._controller.put(torch.tensor([row]), one.before, torch.tensor([one.row]))
            self._waiting[row].clear()
        self._n_decided[rows], self._over[rows] = self._n_asked - 1, False
        self._step(rows, tokens)
        self._hide_undecided()

    def select(self, rows: Int[Tensor, " row"]) -> None:
        self._controller.select(rows)
        self._base.select(rows)
        self._thinking.select(rows)
        self._unread = [unread[rows] for unread in self._unread]
        self._n_prompt = [n_prompt[rows] for n_prompt in self._n_prompt]
        self._n_decided, self._over = self._n_decided[rows], self._over[rows]
        self._waiting = [self._waiting[i] for i in rows.tolist()]

    def close(self) -> None:
        """Nothing was done to a model."""
