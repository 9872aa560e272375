"""WatchedBlock: what a block of a model returned in its last pass, for who runs the blocks above it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

from jaxtyping import Int
from torch import Tensor, nn

from reasonmech.acting import OurHook
from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import of_this_thread
from reasonmech.runtime.served import BlockOutput


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
