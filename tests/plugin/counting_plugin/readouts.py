"""A metric."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from reasonmech.hosts import Host
from reasonmech.metrics import metrics
from reasonmech.runtime.readout import Reading, Run


@metrics.register("margin")
class Margin:
    """By how much the likeliest token leads."""

    name = "margin"
    unit = "logits"

    def continuations(self, host: Host, n_texts: int) -> Sequence[Sequence[Run]]:
        return [()] * n_texts

    def value(self, reading: Reading) -> Tensor:
        first, second = reading.logits.topk(2).values.unbind(-1)
        return first - second
