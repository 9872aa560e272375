"""Prefix: a clean pass, of which an intervention recomputes only what lies above and after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from reasonmech.acting import OurHook
from reasonmech.hosts.hookpoint import read_hidden
from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import of_this_thread, run_alone
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import step_of
from reasonmech.site import Site
from reasonmech.step import Step

NO_LAYER: Final = -1


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
        self._outputs: dict[int, Tensor] = {}
        self._tuple_lengths: dict[int, int] = {}  # 0: the block returns a bare tensor
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
            self._outputs[layer] = read_hidden(output).detach()
            self._tuple_lengths[layer] = 0 if isinstance(output, Tensor) else len(output)

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
        part, device = self.part(rows, start), self.host.device
        with self._served(rows.to(device), below, start):
            return self.host.model(
                input_ids=part.ids[:, start:].to(device),
                attention_mask=part.mask.long().to(device),
                position_ids=part.positions[:, start:].clamp_min(0).to(device),
                past_key_values=self._past(rows, below, start) if start else None,
                use_cache=start > 0,
                logits_to_keep=last_logits,
            ).logits

    def _past(self, rows: Int[Tensor, " row"], below: int, start: int) -> DynamicCache:
        past = DynamicCache()
        for i, layer in enumerate(self._cache.layers):
            assert isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
            if i <= below:  # never read; its length is, where the mask is made
                nothing = layer.keys.new_empty(1, 1, start, 1)
                past.update(nothing, nothing, i)
            else:
                on_device = rows.to(layer.keys.device)
                past.update(layer.keys[on_device, :, :start], layer.values[on_device, :, :start], i)
        return past

    @contextmanager
    def _served(self, rows: Int[Tensor, " row"], below: int, start: int) -> Iterator[None]:
        """Inside, blocks up to `below` return what that one did in the clean pass; their hooks still run."""
        replaced: list[tuple[nn.Module, Any]] = []
        try:
            for i in range(below + 1):
                block = self.host.layers[i]
                replaced.append((block, block.__dict__.get("forward")))
                # `forward`, not `__call__`: the block's own hooks still run
                object.__setattr__(block, "forward", self._server(block.forward, below, rows, start))
            yield
        finally:
            for block, previous in replaced:
                if previous is None:  # the class's forward, which nothing had covered
                    object.__delattr__(block, "forward")
                else:
                    object.__setattr__(block, "forward", previous)

    def _server(
        self, forward: Callable[..., Any], layer: int, rows: Int[Tensor, " row"], start: int
    ) -> Callable[..., Any]:
        """A block's forward in passes of this thread; in those of others what it was."""
        clean, n_outputs = self._outputs[layer], self._tuple_lengths[layer]
        stream = clean[rows.to(clean.device), start:]
        output = (stream, *[None] * (n_outputs - 1)) if n_outputs else stream
        owner = threading.get_ident()

        def serve(*args: Any, **kwargs: Any) -> Any:
            return output if threading.get_ident() == owner else forward(*args, **kwargs)

        return serve


def last_unread(site: Site) -> int:
    """The last block that need not run when the first edit or gate of a plan is at `site`."""
    return site.layer if site.kind == "resid_post" else site.layer - 1
