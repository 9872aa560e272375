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

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import bind
from reasonmech.interventions.intervention import Intervention
from reasonmech.ranges import Positive
from reasonmech.receipt import Receipt
from reasonmech.runtime.names import check_words
from reasonmech.runtime.pass_rows import LabelledTexts, TextLike, check_positions, pass_rows, texts_of
from reasonmech.runtime.passes import run_passes
from reasonmech.runtime.receipt.recorder import ReceiptMode, ReceiptRecorder


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


@checked
def forward(
    host: Host,
    texts: Sequence[TextLike] | TextLike | LabelledTexts,
    plan: Intervention | Sequence[Intervention] = (),
    *,
    batch_size: Positive = 64,
    receipt: ReceiptMode = "sample",
    progress: bool = False,
) -> ForwardResult:
    """Logits of texts, token ids or rollouts under a plan; left-padded batches equal their rows run alone.

    Args:
        texts: of a plain text or token ids everything is prompt; a rollout knows its prompt, and is read in
            the tokens that it holds (a sibling's: `as_read_by(host, rollouts)`). Masks that say
            `labelled(name)` need `LabelledTexts`.
        receipt: how many rows the KL is measured on: a quarter, 16 at most; all; or no KL at all.

    Raises:
        NoChangeError: an intervention changed nothing in all texts; the ForwardResult is on `.result`.
        NonFiniteError: NaN or infinite logits; the text is named.
        UnknownNameError, MismatchError, BindError: the plan does not fit the host (see `bind`), or
            a rollout says a mask's word where this host calls the token otherwise.
        DataError: no text, an empty one, or labels or positions outside the texts.
        ArgumentError: an argument of another type.
    """
    check_type(host, Host, name="host", allowed="a Host", do="forward(host, texts, plan)")
    rows = pass_rows(host, texts)
    if not rows:
        raise DataError("no text to read", do="give at least one")
    bound = bind(plan, host)
    check_positions(bound.plan, rows)
    for intervention in bound.plan:
        check_words(intervention.where, host, texts_of(texts))
    recorder = ReceiptRecorder(bound, receipt, batch_size=batch_size)
    by_row: dict[int, Tensor] = {}
    passes = run_passes(host, rows, hooks=recorder.hooks(), batch_size=batch_size)
    with torch.no_grad(), closing(passes):
        bar = tqdm(passes, total=len(rows), desc="forward", unit="row", delay=1.0, disable=not progress)
        for row, logits in bar:
            by_row[row] = logits.cpu()
    logits = tuple(by_row[row] for row in range(len(rows)))
    return recorder.finish(rows, lambda receipt: ForwardResult(logits, receipt))
