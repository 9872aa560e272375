"""forward: teacher-forced passes over texts under a plan."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import bind
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.runtime.pass_rows import LabelledTexts, TextLike, check_positions, pass_rows
from reasonmech.runtime.passes import run_passes
from reasonmech.runtime.receipt.receipt import Receipt, ReceiptMode, check_receipt, make_receipt
from reasonmech.runtime.receipt.tally import Tally


@final
@dataclass(frozen=True, eq=False)
class ForwardResult:
    """Logits of every text.

    Attributes:
        logits: one [pos, vocab] tensor per text, padding removed, on the CPU.
        receipt: what the plan did (None without a plan).
    """

    logits: tuple[Float[Tensor, "pos vocab"], ...]
    receipt: Receipt | None


def forward(
    host: Host,
    texts: Sequence[TextLike] | TextLike | LabelledTexts,
    plan: Sequence[Intervention] = (),
    *,
    batch_size: int = 64,
    receipt: ReceiptMode = "sample",
    progress: bool = False,
) -> ForwardResult:
    """Logits of texts, token ids or rollouts under a plan; left-padded batches equal their rows run alone.

    Args:
        texts: of a plain text or token ids everything is prompt; a rollout knows its prompt. Masks that say
            `labelled(name)` need `LabelledTexts`.
        receipt: how many rows the KL is measured on: 16 at most, all, or no KL at all.

    Raises:
        NeverFiredError: a mask matched no token of all texts; the ForwardResult is on `.result`.
        NonFiniteError: NaN or infinite logits; the text is named.
        UnknownNameError, MismatchError, BindError: the plan does not fit the host (see `bind`).
        DataError: no text, an empty one, or labels or positions outside the texts.
    """
    rows = pass_rows(host, texts)
    if not rows:
        raise DataError("no text to read", do="give at least one")
    bound = bind(plan, host)
    check_positions(bound.plan, rows)
    tally = Tally(bound.plan, measure=receipt != "none")
    hooks = Hooks(bound, recorder=tally) if bound.plan else None
    found: dict[int, Tensor] = {}
    with torch.no_grad(), closing(run_passes(host, rows, hooks=hooks, batch_size=batch_size)) as done:
        for row, logits in tqdm(
            done, total=len(rows), desc="forward", unit="row", delay=1.0, disable=not progress
        ):
            found[row] = logits.cpu()
    ordered = tuple(found[row] for row in range(len(rows)))
    if not bound.plan:
        return ForwardResult(ordered, None)
    result = ForwardResult(ordered, make_receipt(bound, tally, rows, mode=receipt, batch_size=batch_size))
    assert result.receipt is not None
    check_receipt(bound, result.receipt, result=result)
    return result
