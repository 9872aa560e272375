"""Served blocks: those below a stream that is known already hand it on, and are not run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, final

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from reasonmech.acting import OurHook
from reasonmech.errors import BindError
from reasonmech.hosts.hookpoint import read_hidden
from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import of_this_thread, run_alone
from reasonmech.site import Site

NO_LAYER: Final = -1


@final
class BlockOutput(NamedTuple):
    """What a block returned.

    Attributes:
        layer: number of the block.
        stream: the hidden tensor, [row, pos, d_model].
        length: of the tuple that it stood first in; 0: it was returned bare.
    """

    layer: int
    stream: Tensor
    length: int

    @classmethod
    def of(cls, layer: int, output: Any) -> BlockOutput:
        return cls(layer, read_hidden(output).detach(), 0 if isinstance(output, Tensor) else len(output))

    def select(self, rows: Tensor) -> BlockOutput:
        """The same of some rows."""
        return self._replace(stream=self.stream[rows.to(self.stream.device)])

    def packed(self) -> Any:
        return (self.stream, *[None] * (self.length - 1)) if self.length else self.stream


def last_unread(site: Site) -> int:
    """The last block that need not run when the first edit or gate of a plan is at `site`."""
    return site.layer if site.kind == "resid_post" else site.layer - 1


@contextmanager
def served(host: Host, known: BlockOutput | None) -> Iterator[None]:
    """Inside, blocks up to one whose output is known return it in passes of this thread; their hooks still
    run. None: all are computed. For the inside of `run_alone`: one thread at a time changes a model's blocks.
    """
    replaced: list[tuple[nn.Module, Any]] = []
    packed = None if known is None else known.packed()
    try:
        for block in [] if known is None else host.layers[: known.layer + 1]:
            replaced.append((block, block.__dict__.get("forward")))
            # `forward`, not `__call__`: the block's own hooks still run
            object.__setattr__(block, "forward", _server(block.forward, packed))
        yield
    finally:
        for block, previous in replaced:
            if previous is None:  # the class's forward, which nothing had covered
                object.__delattr__(block, "forward")
            else:
                object.__setattr__(block, "forward", previous)


def _server(forward: Callable[..., Any], output: Any) -> Callable[..., Any]:
    """A block's forward in passes of this thread; in those of others what it was."""
    owner = threading.get_ident()

    def serve(*args: Any, **kwargs: Any) -> Any:
        return output if threading.get_ident() == owner else forward(*args, **kwargs)

    return serve


def past_above(
    cache: DynamicCache, below: int, length: int, take: Callable[[Tensor], Tensor]
) -> DynamicCache:
    """`take` of the keys and values of every layer above `below`; layers below have `length` and nothing in
    it: never read, but where the mask is made.

    Raises:
        BindError: a layer does not hold the whole past.
    """
    past = DynamicCache()
    for i, layer in enumerate(cache.layers):
        keys = values = torch.empty(1, 1, length, 1)
        if i > below:
            if not isinstance(layer, DynamicLayer) or layer.keys is None or layer.values is None:
                raise forgetful(f"a cache whose layer {i} does not hold the whole past")
            keys, values = take(layer.keys), take(layer.values)
        copied = DynamicLayer()
        copied.lazy_initialization(keys, values)
        copied.keys, copied.values = keys, values  # not `update`, which would copy them once more
        past.layers.append(copied)
    return past


def forgetful(happened: str, otherwise: str = "") -> BindError:
    """What to say of a cache that lacks a part of the past, and what else would do."""
    return BindError(
        happened,
        allowed="models with full attention in every layer",
        do=f"choose a model without sliding-window attention{otherwise}",
    )


def output_length(host: Host, layer: int) -> int:
    """Length of the tuple that a block returns; 0 where it returns a bare tensor. One pass over one token."""
    lengths: list[int] = []

    def look(_: nn.Module, __: Any, output: Any) -> None:
        lengths.append(BlockOutput.of(layer, output).length)

    handle = host.layers[layer].register_forward_hook(OurHook(of_this_thread(look)), prepend=True)
    ids = torch.tensor([[host.pad_id]], device=host.device)
    try:
        with torch.no_grad():
            run_alone(host, lambda: host.model(input_ids=ids, use_cache=False, logits_to_keep=1))
    finally:
        handle.remove()
    return lengths[0]
