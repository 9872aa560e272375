"""Prefix: a clean pass, of which an intervention recomputes only what lies above and after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from reasonmech.acting import OurHook
from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import of_this_thread, run_alone
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import step_of
from reasonmech.runtime.served import NO_LAYER, BlockOutput, past_above, served
from reasonmech.step import Step


@final
class Prefix:
    """Keys, values and the outputs of some blocks, of one clean pass over a left-padded batch of texts.

    `run` computes rows of it again from a block and a column on, under whatever hooks the model carries.
    Blocks up to `below` are not run: they hand on what they returned in the clean pass. Columns before
    `start` are not run: their keys and values are the clean ones. Both are exact as long as nothing is edited
    there.

    Attributes:
        step: the whole texts, as one uncached pass sees them.
        logits: the last ones of every row, nothing edited.
    """

    def __init__(
        self,
        host: Host,
        texts: Sequence[PassRow],
        numbers: Sequence[int],
        layers: Sequence[int],
        *,
        last_logits: int = 1,
    ) -> None:
        """One clean pass.

        Args:
            numbers: of each text in the run.
            layers: blocks whose output a later `run` may begin from.
            last_logits: of how many last tokens of every row `logits` holds the logits.
        """
        self.host, self.step = host, step_of(host, texts, numbers)
        self._outputs: dict[int, BlockOutput] = {}
        self._cache = DynamicCache()
        self.logits: Float[Tensor, "row tail vocab"] = run_alone(
            host, lambda: self._run_clean([i for i in layers if i != NO_LAYER], last_logits)
        )

    @torch.no_grad()
    def _run_clean(self, layers: Sequence[int], last_logits: int) -> Float[Tensor, "row tail vocab"]:
        host, blocks = self.host, self.host.layers
        handles = [
            # in front: hooks of others act again on what is handed on
            blocks[i].register_forward_hook(OurHook(of_this_thread(self._storing(i))), prepend=True)
            for i in layers
        ]
        try:
            return host.model(
                input_ids=self.step.ids.to(host.device),
                attention_mask=self.step.mask.long().to(host.device),
                position_ids=self.step.positions.clamp_min(0).to(host.device),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=last_logits,
            ).logits
        finally:
            for handle in handles:
                handle.remove()

    def _storing(self, layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def store(_: nn.Module, __: Any, output: Any) -> None:
            self._outputs[layer] = BlockOutput.of(layer, output)

        return store

    def part(self, rows: Int[Tensor, " row"], start: int) -> Step:
        """The step of `run`: some rows, repeated or not, of which columns from `start` on are computed."""
        step = self.step
        return Step(
            ids=step.ids[rows],
            mask=step.mask[rows],
            prompt_length=step.prompt_length[rows],
            new=step.ids.shape[1] - start,
            rows=step.rows[rows],
            labels={name: marks[rows] for name, marks in step.labels.items()},
        )

    def run(
        self, rows: Int[Tensor, " row"], *, below: int, start: int, last_logits: int
    ) -> Float[Tensor, "row tail vocab"]:
        """Last `last_logits` logits of some rows, computed from block `below + 1` and column `start` on.

        Args:
            below: the last block that is not run (`NO_LAYER`: all are).
        """
        return run_alone(self.host, lambda: self._run_part(rows, below, start, last_logits))

    def _run_part(
        self, rows: Int[Tensor, " row"], below: int, start: int, last_logits: int
    ) -> Float[Tensor, "row tail vocab"]:
        host, part = self.host, self.part(rows, start)
        device = host.device
        with served(host, self._output(rows, below, start)):
            return host.model(
                input_ids=part.ids[:, start:].to(device),
                attention_mask=part.mask.long().to(device),
                position_ids=part.positions[:, start:].clamp_min(0).to(device),
                past_key_values=self._past(rows, below, start) if start else None,
                use_cache=start > 0,
                logits_to_keep=last_logits,
            ).logits

    def _past(self, rows: Int[Tensor, " row"], below: int, start: int) -> DynamicCache:
        return past_above(self._cache, below, start, lambda x: x[rows.to(x.device), :, :start])

    def _output(self, rows: Int[Tensor, " row"], layer: int, start: int) -> BlockOutput | None:
        if layer == NO_LAYER:
            return None
        clean = self._outputs[layer]
        return clean._replace(stream=clean.stream[rows.to(clean.stream.device), start:])
