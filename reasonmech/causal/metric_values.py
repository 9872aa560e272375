"""What a metric reads after texts: its values where nothing is edited, and the passes that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.interventions.hooks import Hooks
from reasonmech.runtime.memory import halving
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import run_passes
from reasonmech.runtime.readout import Question, Readout, question_batches, questions, read


def unedited_values(
    host: Host, texts: Sequence[PassRow], numbers: Sequence[int], metric: Readout, *, batch_rows: int
) -> Float[Tensor, " text"]:
    """The metric after some texts of a run, nothing edited.

    Args:
        texts: of the whole run, which the metric may be aligned with.
        numbers: of the texts that are read.
        batch_rows: rows per pass; halved, with a warning, where memory is short.

    Raises:
        NonFiniteError: NaN or infinite logits or values; the text is named.
    """
    of_all = questions(host, texts, metric)
    selected = [of_all[number] for number in numbers]
    values = torch.cat(
        [
            torch.stack(halving(batch, lambda part: list(_values(host, part, metric)), what="text")[0])
            for batch in question_batches(selected, batch_rows)
        ]
    )
    if not bool(torch.isfinite(values).all()):
        bad = selected[int((~torch.isfinite(values)).nonzero()[0])]
        raise NonFiniteError(
            f"{metric.name} is NaN or infinite for {bad.rows[0].name}, nothing edited",
            do="check what the metric reads",
        )
    return values


def last_logits(
    host: Host, batch: Sequence[Question], *, hooks: Hooks | None = None, numbers: Sequence[int]
) -> list[list[Float[Tensor, "tail vocab"]]]:
    """Per question and row the last logits that a metric reads, from one pass, on the model's device.

    Args:
        numbers: of each row in the run that the hooks' sources are aligned with.
    """
    rows = [(i, row) for i, question in enumerate(batch) for row in range(question.n_rows)]
    tails: list[dict[int, Tensor]] = [{} for _ in batch]
    # a pass returns as many logits of every row; each is cut to its own below
    longest = max(question.tail(row) for question in batch for row in range(question.n_rows))
    passes = run_passes(
        host,
        [batch[i].rows[row] for i, row in rows],
        hooks=hooks,
        numbers=numbers,
        batch_size=len(rows),
        last_logits=longest,
    )
    with torch.no_grad(), closing(passes) as results:
        for number, logits in results:
            i, row = rows[number]
            tails[i][row] = logits[-batch[i].tail(row) :]
    return [[of_rows[row] for row in sorted(of_rows)] for of_rows in tails]


def _values(host: Host, batch: Sequence[Question], metric: Readout) -> Float[Tensor, " text"]:
    numbers = [question.number for question in batch for _ in question.rows]
    return read(metric, batch, last_logits(host, batch, numbers=numbers)).cpu()
