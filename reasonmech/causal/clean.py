"""What a metric reads after texts that nothing edits: the values beside which effects are put."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.runtime.passes import Text, run_passes
from reasonmech.runtime.readout import Readout, questions, read


def clean_values(
    host: Host, texts: Sequence[Text], numbers: Sequence[int], metric: Readout, *, batch_rows: int
) -> Float[Tensor, " text"]:
    """The metric after some texts of a run, nothing edited.

    Args:
        texts: of the whole run, which the metric may be aligned with.
        numbers: of the texts that are read.
        batch_rows: rows per pass.

    Raises:
        NonFiniteError: NaN or infinite logits or values; the text is named.
    """
    every = questions(host, texts, metric)
    asked = [every[number] for number in numbers]
    rows = [(i, row) for i, question in enumerate(asked) for row in range(question.n_rows)]
    tails: list[dict[int, Tensor]] = [{} for _ in asked]
    texts_of_rows = [asked[i].rows[row] for i, row in rows]
    of_run = [asked[i].number for i, _ in rows]
    with torch.no_grad(), closing(run_passes(host, texts_of_rows, numbers=of_run, batch_size=batch_rows)) as done:
        for number, logits in done:
            i, row = rows[number]
            tails[i][row] = logits[-asked[i].tail(row) :].clone()
        values = read(metric, asked, [[own[row] for row in sorted(own)] for own in tails]).cpu()
    if not bool(torch.isfinite(values).all()):
        bad = asked[int((~torch.isfinite(values)).nonzero()[0])]
        raise NonFiniteError(
            f"{metric.name} is NaN or infinite for {bad.rows[0].name}, nothing edited", do="check what the metric reads"
        )
    return values
