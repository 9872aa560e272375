"""next_token_kl: how far the next-token distribution has moved from that of a clean run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.interventions.canonical import Json, tensor_json
from reasonmech.metrics.base import check_host, check_number, entries_read, metrics, no_runs
from reasonmech.ranges import Positive
from reasonmech.runtime.pass_rows import TextLike, pass_rows
from reasonmech.runtime.passes import run_passes
from reasonmech.runtime.readout import Reading, Run


@final
@dataclass(frozen=True, eq=False)
class NextTokenKL:
    """Made by `next_token_kl`, or from logits of your own.

    Attributes:
        reference: next-token logits of the run to compare with, one line per text.
    """

    reference: Float[Tensor, "text vocab"]
    name = "next_token_kl"
    unit = "nats"

    def __post_init__(self) -> None:
        if self.reference.dim() != 2 or self.reference.numel() == 0:
            raise DataError(
                f"next_token_kl with a reference of shape {tuple(self.reference.shape)}: it would read "
                "nothing",
                allowed="[text, vocab], at least one text",
            )
        if not bool(torch.isfinite(self.reference).all()):
            raise NonFiniteError("the reference of next_token_kl holds NaN or infinite logits")
        # on the CPU: a metric outlives devices, and is compared by its content
        object.__setattr__(self, "reference", self.reference.detach().float().cpu())

    @checked
    def continuations(self, host: Host, n_texts: int) -> Sequence[Sequence[Run]]:
        check_number(self.name, len(self.reference), n_texts)
        if self.reference.shape[1] != host.vocab_size:
            raise DataError(
                f"next_token_kl has a reference over {self.reference.shape[1]} tokens,"
                f" host {host.name!r} has {host.vocab_size}",
                do="take the reference from this model",
            )
        return no_runs(n_texts)

    def value(self, reading: Reading) -> Float[Tensor, " text"]:
        reference = entries_read(self.reference, reading).log_softmax(-1)
        return (reference.exp() * (reference - reading.logits.log_softmax(-1))).sum(-1)

    def to_json(self) -> dict[str, Json]:
        return {"kind": self.name, "reference": tensor_json(self.reference)}


@checked
@metrics.register("next_token_kl")
def next_token_kl(host: Host, texts: Sequence[TextLike], *, batch_size: Positive = 64) -> NextTokenKL:
    """KL(reference || run) of the next token after a text, in nats; the reference is a clean run of `texts`.

    The metric of ACDC (Conmy et al. 2023, arXiv 2304.14997), here at the last token only. A receipt prints
    the other direction, KL(edited || clean). At its own reference the value is 0 and so is its gradient:
    nothing can be attributed there.

    Args:
        texts: of the reference run, in the order of the texts that will be measured.

    Raises:
        DataError: no text, or one without tokens. NonFiniteError: NaN or infinite logits.
    """
    check_host(host, do="rm.metrics.next_token_kl(host, texts)")
    rows = pass_rows(host, texts)
    if not rows:
        raise DataError(
            "next_token_kl without a reference text: it would read nothing", do="give at least one"
        )
    last_logits: dict[int, Tensor] = {}
    with torch.no_grad(), closing(run_passes(host, rows, batch_size=batch_size)) as passes:
        for row, logits in passes:
            last_logits[row] = logits[-1].float().cpu()
    return NextTokenKL(torch.stack([last_logits[row] for row in range(len(rows))]))
