"""HostDecoder: one untouched Hugging Face model under a plan, KV-cached, as a Decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from reasonmech.door import checked
from reasonmech.errors import BindError, DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import BoundPlan, bind
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.partner_readings import NOTHING, PartnerReadings
from reasonmech.interventions.recorder import Recorder
from reasonmech.ranges import Positive
from reasonmech.runtime.decoding.compiled import CompiledSteps, can_compile
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.decoding.growing_cache import growing_cache
from reasonmech.runtime.decoding.labelling import LabelBuffer
from reasonmech.runtime.decoding.of_host import OfHost
from reasonmech.runtime.decoding.partner import Partner
from reasonmech.runtime.decoding.prompts import read_by
from reasonmech.runtime.decoding.repeats import repeated_rows
from reasonmech.runtime.decoding.watched_block import WatchedBlock, read_into, unembedding_rows
from reasonmech.runtime.rerun import CleanPast
from reasonmech.shapes import Mask, NextLogits, Tokens
from reasonmech.step import CausalLabeller, Step


@final
@checked
@dataclass(frozen=True, eq=False)
class HostDecoder(OfHost):
    """One host under a bound plan; an empty one runs the plain model with no hook installed.

    Attributes:
        recorder: is told what the plan does; None where nobody asks.
        compiled: whether the steps behind the prompts are compiled (`Decode.compile`).
    """

    bound: BoundPlan
    recorder: Recorder | None = None
    compiled: bool = False

    @classmethod
    def of(
        cls,
        host: Host,
        plan: Intervention | Sequence[Intervention] = (),
        *,
        partner: Host | None = None,
        labellers: Mapping[str, CausalLabeller] | None = None,
    ) -> HostDecoder:
        """A host under a plan, for plans that need more than the host.

        Args:
            partner: the other host of a pair, run clean beside this one over the same tokens, for gates that
                read it (`above(..., role="thinking")`, `disagree()`).
            labellers: causal labellers of the masks that say `labelled(name)`.

        Raises:
            BindError, MismatchError, UnknownNameError, ArgumentError: as in `bind`.
        """
        return cls(bind(plan, host, partner=partner, labellers=labellers, generating=True))

    @property
    def host(self) -> Host:
        return self.bound.host

    @property
    def readers(self) -> tuple[Host, ...]:
        other = self.bound.partner
        return (self.host,) if other is None or not self.bound.reads_partner else (self.host, other)

    @checked
    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: Positive) -> HostState:
        return HostState(self, prompts, mask, rows, max_new_tokens)

    @checked
    def start_partner(
        self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: Positive
    ) -> Partner | None:
        """The other host over the same batch, where some gate reads it.

        Where its logits alone are read it has its own tokens of the prompt; where its streams are, which
        stand beside this host's token by token, `generate` has seen to it that they are the same.
        """
        other = self.bound.partner
        if other is None or not self.bound.reads_partner:
            return None
        batch = (prompts, mask, rows)
        if not self.bound.partner_sites:
            batch = read_by(other, *batch)
        state = HostDecoder.of(other).start(*batch, max_new_tokens)
        return Partner(other, state, self.bound.partner_sites)


@final
class HostState:
    """A batch of one host in flight: its cache, its text so far, and the resident hooks of its plan."""

    def __init__(
        self, decoder: HostDecoder, prompts: Tokens, mask: Mask, rows: list[RowInfo], room: int
    ) -> None:
        batch, width = prompts.shape
        self._host, self._device = decoder.host, decoder.device
        self._cache = growing_cache(self._host.model.config)
        self._ids = torch.cat([prompts, prompts.new_zeros(batch, room)], dim=1)
        self._mask = torch.cat([mask, mask.new_ones(batch, room)], dim=1)
        self._attention = self._mask.long().to(self._device)
        self._n_read, self._pending = 0, width
        self._input = prompts.to(self._device)
        self._positions = (self._attention[:, :width].cumsum(-1) - 1).clamp_min_(0)
        self._ends = torch.tensor(decoder.eos_ids, dtype=torch.long)
        self._prompt_length = torch.tensor([row.prompt_length for row in rows])
        self._rows = torch.tensor([row.index for row in rows])
        self._labels = LabelBuffer(decoder.bound.labellers, batch, width + room)
        self._reconsiders = decoder.bound.reconsiders
        self._compiles, self._compiled = decoder.compiled, None
        self._watched: WatchedBlock | None = None
        self._partner = decoder.start_partner(prompts, mask, rows, room)
        # a partner whose vocabulary is padded less could not read a token beyond its rows
        self._rows_of_both = None if self._partner is None else self._partner.vocab_size
        try:
            self._hooks = (
                Hooks(decoder.bound, recorder=decoder.recorder).__enter__() if decoder.bound.plan else None
            )
        except BaseException:
            if self._partner is not None:
                self._partner.close()
            raise

    def watch(self, layer: int) -> None:
        """Keep what a block returns, so that `clean_past` knows it."""
        self._watched = WatchedBlock(self._host, layer)

    def next_logits(self) -> NextLogits:
        if not self._pending:
            raise DataError(
                "logits of a position were asked for twice", do="advance() before the next logits"
            )
        readings = NOTHING if self._partner is None else self._partner.read()
        if self._hooks is None:
            return self._pass(self._pending)
        if not self._reconsiders:
            return self._edited_pass(self._hooks, self._pending, readings)[:, : self._rows_of_both]
        if self._pending > 1:
            self._edited_pass(self._hooks, self._pending - 1, readings.take(slice(None, -1)))
        return self._two_passes(self._hooks, readings.take(slice(-1, None)))[:, : self._rows_of_both]

    def next_logits_of(self, rows: Bool[Tensor, " batch"]) -> NextLogits:
        """`next_logits` of some rows (CPU), in their order; all rows are read, and those alone unembedded.

        Unembedding is a fifth of a small model's pass: a model that is asked of few rows is cheaper so.
        """
        if self._hooks is not None or self._n_read == 0 or rows.all():
            return self.next_logits()[rows.to(self._device)]
        with unembedding_rows(self._host, rows.to(self._device)):
            return self.next_logits()

    def _pass(self, new: int) -> NextLogits:
        """Run the next `new` of the pending columns, under whatever the hooks were told."""
        start = self._input.shape[1] - self._pending
        first_pass = self._n_read == 0
        self._n_read += new
        columns = slice(start, start + new)
        if self._compiled is not None:
            self._pending -= new
            return self._compiled.read(self._input)
        batch = (self._input[:, columns], self._attention[:, : self._n_read], self._positions[:, columns])
        repeats = repeated_rows(self._host.model, *batch[:2]) if first_pass and self._hooks is None else None
        if repeats is None:
            logits = self._logits(*batch)
        else:  # samples of one prompt: it is read once
            logits = self._logits(*(tensor[repeats.first] for tensor in batch))[repeats.of_row]
            self._cache.batch_select_indices(repeats.of_row)
            if self._watched is not None:
                self._watched.select(repeats.of_row)
        self._pending -= new
        if first_pass and self._compiles:
            self._compile()
        return logits

    def _compile(self) -> None:
        """Go on in compiled steps; where that cannot be, a warning says why."""
        if not can_compile(self._host, self._cache, two_pass=self._reconsiders):
            return
        if self._hooks is not None:
            self._hooks.detach()
        last = self._positions[:, -1:]
        self._compiled = CompiledSteps(self._host, self._hooks, self._cache, self._mask, last)
        self._cache = growing_cache(self._host.model.config)

    def _logits(
        self, ids: Int[Tensor, "row pos"], seen: Int[Tensor, "row past"], positions: Int[Tensor, "row pos"]
    ) -> NextLogits:
        """Of the last column; all columns enter the cache."""
        batch = (ids, seen, positions)
        logits = read_into(self._host, self._cache, batch, keep=1, watched=self._watched)
        return logits[:, -1]

    def _edited_pass(self, hooks: Hooks, new: int, readings: PartnerReadings) -> NextLogits:
        hooks.begin(self._step(self._n_read + new, new), readings)
        logits = self._pass(new)
        hooks.end()
        return logits

    def _two_passes(self, hooks: Hooks, readings: PartnerReadings) -> NextLogits:
        """The last column without an edit of it, then, where a gate opens on what it says, under the plan."""
        logits = self._pass(1)
        hooks.begin(self._step(self._n_read, 1), replace(readings, host_logits=logits))
        if not hooks.all_shut:
            self._forget_last()
            logits = self._pass(1)
        hooks.end()
        return logits

    def _forget_last(self) -> None:
        """Take the last column out of the cache, to run it again."""
        for layer in self._cache.layers:
            if (
                not isinstance(layer, DynamicLayer)
                or layer.keys is None
                or layer.keys.shape[-2] != self._n_read
            ):
                raise BindError(
                    f"a cache that does not hold all {self._n_read} positions, so that none can be computed "
                    "again",
                    allowed="two-pass gates on models with full attention in every layer",
                    do="choose a model without sliding-window attention, or a shorter text",
                )
        self._cache.crop(-1)
        self._n_read, self._pending = self._n_read - 1, 1

    def _step(self, width: int, new: int) -> Step:
        return Step(
            ids=self._ids[:, :width],
            mask=self._mask[:, :width],
            prompt_length=self._prompt_length,
            new=new,
            rows=self._rows,
            labels=self._labels.extend(self._ids[:, :width], self._mask[:, :width], self._prompt_length),
        )

    def steered(self) -> Bool[Tensor, " batch"]:
        if self._hooks is None:
            return torch.zeros(len(self._rows), dtype=torch.bool)
        return self._hooks.open_at_last()

    def ended(self, tokens: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return torch.isin(tokens, self._ends)

    def clean_past(self) -> CleanPast:
        """The position whose logits `next_logits` returned last, and the past it sees; for `rerun`."""
        visible = self._attention[:, : self._n_read].clone()
        visible[:, -1] = 0  # the position's own clean key and value stay in the cache, unseen
        known = None if self._watched is None else self._watched.output
        return CleanPast(self._cache, visible, self._input[:, -1], self._positions[:, -1], known)

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._ids[:, self._n_read] = tokens.cpu()
        self._input = tokens.to(self._device)[:, None]
        self._positions = self._positions[:, -1:] + 1
        self._pending = 1
        if self._partner is not None:
            self._partner.advance(tokens)

    def select(self, rows: Int[Tensor, " row"]) -> None:
        on_device = rows.to(self._device)
        if self._compiled is None:
            self._cache.batch_select_indices(on_device)
        else:
            self._compiled.select(on_device)
        self._attention, self._input, self._positions = (
            self._attention[on_device],
            self._input[on_device],
            self._positions[on_device],
        )
        self._ids, self._mask = self._ids[rows], self._mask[rows]
        self._prompt_length, self._rows = self._prompt_length[rows], self._rows[rows]
        self._labels.select(rows)
        if self._partner is not None:
            self._partner.select(rows)

    def close(self) -> None:
        if self._compiled is not None:
            self._compiled.close()
        if self._partner is not None:
            self._partner.close()
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks.check_weights()
