"""WatchedBlock: what a block of a model returned in its last pass, for who runs the blocks above it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias, final

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from reasonmech.acting import OurHook
from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import of_this_thread, run_alone
from reasonmech.runtime.served import BlockOutput

Batch: TypeAlias = tuple[Int[Tensor, "row pos"], Int[Tensor, "row past"], Int[Tensor, "row pos"]]


def read_into(
    host: Host,
    cache: DynamicCache,
    batch: Batch,
    *,
    keep: int,
    watched: WatchedBlock | None,
) -> Float[Tensor, "row pos vocab"]:
    """Logits of the last `keep` columns of a batch, 0 for all; all columns enter the cache.

    Args:
        batch: ids [row, pos], what each row sees [row, past], positions [row, pos].
        watched: a block that is read on the way.
    """
    ids, seen, positions = batch
    with nullcontext() if watched is None else watched.watching():
        out = run_alone(
            host,
            lambda: host.model(
                input_ids=ids,
                attention_mask=seen,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=keep,
            ),
        )
    return out.logits


@contextmanager
def unembedding_rows(host: Host, rows: Bool[Tensor, " row"]) -> Iterator[None]:
    """Passes inside have logits of these rows alone."""

    def select(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return inputs[0][rows], *inputs[1:]

    head: nn.Module | None = host.model.get_output_embeddings()
    assert head is not None, "a causal language model has a head"
    handle = head.register_forward_pre_hook(OurHook(of_this_thread(select)))
    try:
        yield
    finally:
        handle.remove()


@final
class WatchedBlock:
    """A block, read in the passes that run inside `watching`; no hook stays in the model.

    Attributes:
        output: at the last token of every row, [row, 1, d_model]; None: no pass yet, or it was not read.
    """

    def __init__(self, host: Host, layer: int) -> None:
        self._block, self._layer = host.layers[layer], layer
        self.output: BlockOutput | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        handle = self._block.register_forward_hook(OurHook(of_this_thread(self._keep)), prepend=True)
        try:
            yield
        finally:
            handle.remove()

    def _keep(self, _: nn.Module, __: Any, output: Any) -> None:
        whole = BlockOutput.of(self._layer, output)
        self.output = whole._replace(stream=whole.stream[:, -1:])

    def select(self, rows: Int[Tensor, " row"]) -> None:
        """What was read of some rows, in any order, repeated or not."""
        if self.output is not None:
            self.output = self.output.select(rows)
