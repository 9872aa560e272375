"""HostDecoder: one untouched Hugging Face model under a plan, KV-cached, as a Decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from reasonmech.errors import BindError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import Bound
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.partner_readings import NOTHING, PartnerReadings
from reasonmech.runtime.decoding.decoder import RowInfo
from reasonmech.runtime.decoding.labelling import LabelBuffer
from reasonmech.runtime.decoding.partner import Partner
from reasonmech.runtime.receipt.tally import Tally
from reasonmech.runtime.rerun import Context
from reasonmech.shapes import Mask, NextLogits, Tokens
from reasonmech.step import CausalLabeller, Step

NO_LABELLERS: Final[Mapping[str, CausalLabeller]] = MappingProxyType({})


@final
class HostDecoder:
    """One host under a bound plan.

    Args:
        bound: the plan, bound to this host; None runs the plain model with no hook installed.
        labellers: name -> causal labeller, for masks that say `labelled(name)`.
        tally: counts what each intervention does; None counts nothing.
    """

    def __init__(
        self,
        host: Host,
        bound: Bound | None = None,
        *,
        labellers: Mapping[str, CausalLabeller] = NO_LABELLERS,
        tally: Tally | None = None,
    ) -> None:
        self.host, self.bound, self.labellers, self.tally = host, bound, labellers, tally

    def wanted_labellers(self) -> dict[str, CausalLabeller]:
        """Those that the plan's masks name; a missing one is refused by the mask itself."""
        names = frozenset() if self.bound is None else self.bound.labels
        return {name: self.labellers[name] for name in sorted(names & self.labellers.keys())}

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.host.tokenizer

    @property
    def eos_id(self) -> int | None:
        return self.host.eos_id

    @property
    def pad_id(self) -> int:
        return self.host.pad_id

    @property
    def n_positions(self) -> int:
        return self.host.n_positions

    @property
    def device(self) -> torch.device:
        return self.host.device

    def start(self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int) -> HostState:
        return HostState(self, prompts, mask, rows, max_new_tokens)

    def start_partner(
        self, prompts: Tokens, mask: Mask, rows: list[RowInfo], max_new_tokens: int
    ) -> Partner | None:
        """The other host over the same batch, where some gate reads it."""
        if self.bound is None or self.bound.partner is None or not self.bound.reads_partner:
            return None
        other = self.bound.partner
        state = HostDecoder(other).start(prompts, mask, rows, max_new_tokens)
        return Partner(other, state, self.bound.partner_sites)


@final
class HostState:
    """A batch of one host in flight: its cache, its text so far, and the resident hooks of its plan."""

    def __init__(
        self, decoder: HostDecoder, prompts: Tokens, mask: Mask, rows: list[RowInfo], room: int
    ) -> None:
        batch, width = prompts.shape
        self._model, self._device = decoder.host.model, decoder.device
        self._cache = DynamicCache(config=self._model.config)
        self._ids = torch.cat([prompts, prompts.new_zeros(batch, room)], dim=1)
        self._mask = torch.cat([mask, mask.new_ones(batch, room)], dim=1)
        self._attention = self._mask.long().to(self._device)
        self._seen, self._pending = 0, width
        self._input = prompts.to(self._device)
        self._positions = (self._attention[:, :width].cumsum(-1) - 1).clamp_min_(0)
        self._prompt_length = torch.tensor([row.prompt_length for row in rows])
        self._rows = torch.tensor([row.index for row in rows])
        self._labels = LabelBuffer(decoder.wanted_labellers(), batch, width + room)
        self._reconsiders = decoder.bound is not None and decoder.bound.reconsiders
        self._partner = decoder.start_partner(prompts, mask, rows, room)
        try:
            self._hooks = (
                Hooks(decoder.bound, recorder=decoder.tally).__enter__()
                if decoder.bound is not None
                else None
            )
        except BaseException:
            if self._partner is not None:
                self._partner.close()
            raise

    def next_logits(self) -> NextLogits:
        assert self._pending, "advance() before the next logits"
        outside = NOTHING if self._partner is None else self._partner.look()
        if self._hooks is None:
            return self._pass(self._pending)
        if not self._reconsiders:
            return self._edited(self._hooks, self._pending, outside)
        if self._pending > 1:
            self._edited(self._hooks, self._pending - 1, outside.columns(slice(None, -1)))
        return self._twice(self._hooks, outside.columns(slice(-1, None)))

    def _pass(self, new: int) -> NextLogits:
        """Run the next `new` of the pending columns, under whatever the hooks were told."""
        start = self._input.shape[1] - self._pending
        self._seen += new
        out = self._model(
            input_ids=self._input[:, start : start + new],
            attention_mask=self._attention[:, : self._seen],
            position_ids=self._positions[:, start : start + new],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._pending -= new
        return out.logits[:, -1]

    def _edited(self, hooks: Hooks, new: int, outside: PartnerReadings) -> NextLogits:
        hooks.begin(self._step(self._seen + new, new), outside)
        logits = self._pass(new)
        hooks.end()
        return logits

    def _twice(self, hooks: Hooks, outside: PartnerReadings) -> NextLogits:
        """The last column without an edit of it, then, where a gate opens on what it says, under the plan."""
        clean = self._pass(1)
        hooks.begin(self._step(self._seen, 1), replace(outside, own=clean))
        if not hooks.shut:
            self._forget_last()
            clean = self._pass(1)
        hooks.end()
        return clean

    def _forget_last(self) -> None:
        """Take the last column out of the cache, to run it again."""
        for layer in self._cache.layers:
            if (
                not isinstance(layer, DynamicLayer)
                or layer.keys is None
                or layer.keys.shape[-2] != self._seen
            ):
                raise BindError(
                    f"a cache that does not hold all {self._seen} positions, so that none can be computed "
                    "again",
                    allowed="two-pass gates on models with full attention in every layer",
                    do="choose a model without sliding-window attention, or a shorter text",
                )
        self._cache.crop(-1)
        self._seen, self._pending = self._seen - 1, 1

    def _step(self, seen: int, new: int) -> Step:
        return Step(
            ids=self._ids[:, :seen],
            mask=self._mask[:, :seen],
            prompt_length=self._prompt_length,
            new=new,
            rows=self._rows,
            labels=self._labels.extend(self._ids[:, :seen], self._mask[:, :seen], self._prompt_length),
        )

    def steered(self) -> Bool[Tensor, " batch"]:
        if self._hooks is None:
            return torch.zeros(len(self._rows), dtype=torch.bool)
        return self._hooks.fired_last()

    def context(self) -> Context:
        """The position whose logits `next_logits` returned last, and the past it sees; for `rerun`."""
        visible = self._attention[:, : self._seen].clone()
        visible[:, -1] = 0  # the position's own clean key and value stay in the cache, unseen
        return Context(self._cache, visible, self._input[:, -1], self._positions[:, -1])

    def advance(self, tokens: Int[Tensor, " batch"]) -> None:
        self._ids[:, self._seen] = tokens.cpu()
        self._input = tokens.to(self._device)[:, None]
        self._positions = self._positions[:, -1:] + 1
        self._pending = 1
        if self._partner is not None:
            self._partner.advance(tokens)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        here = rows.to(self._device)
        self._cache.batch_select_indices(here)
        self._attention, self._input, self._positions = (
            self._attention[here],
            self._input[here],
            self._positions[here],
        )
        self._ids, self._mask = self._ids[rows], self._mask[rows]
        self._prompt_length, self._rows = self._prompt_length[rows], self._rows[rows]
        self._labels.keep(rows)
        if self._partner is not None:
            self._partner.keep(rows)

    def close(self) -> None:
        if self._partner is not None:
            self._partner.close()
        if self._hooks is not None:
            self._hooks.remove()
