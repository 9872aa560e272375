"""What a metric reads after texts that nothing edits: the values beside which effects are put."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from reasonmech.runtime.readout import Question, Readout, questions, read


def clean_values(
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
    every = questions(host, texts, metric)
    asked = [every[number] for number in numbers]
    values = torch.cat(
        [
            torch.stack(halving(some, lambda part: list(_values(host, part, metric)), what="text")[0])
            for some in packs(asked, batch_rows)
        ]
    )
    if not bool(torch.isfinite(values).all()):
        bad = asked[int((~torch.isfinite(values)).nonzero()[0])]
        raise NonFiniteError(
            f"{metric.name} is NaN or infinite for {bad.rows[0].name}, nothing edited",
            do="check what the metric reads",
        )
    return values


def packs(asked: Sequence[Question], batch_rows: int) -> Iterator[list[Question]]:
    """Questions whose rows make one pass."""
    some: list[Question] = []
    rows = 0
    for question in asked:
        if some and rows + question.n_rows > batch_rows:
            yield some
            some, rows = [], 0
        some.append(question)
        rows += question.n_rows
    if some:
        yield some


def tails_of(
    host: Host, asked: Sequence[Question], *, hooks: Hooks | None = None, numbers: Sequence[int]
) -> list[list[Float[Tensor, "tail vocab"]]]:
    """One pass over all rows of some questions: the last logits of each that a metric reads, on the model's
    device.

    Args:
        numbers: of each row in the run that the hooks' sources are aligned with.
    """
    rows = [(i, row) for i, question in enumerate(asked) for row in range(question.n_rows)]
    tails: list[dict[int, Tensor]] = [{} for _ in asked]
    last_logits = max(question.tail(row) for question in asked for row in range(question.n_rows))
    passes = run_passes(
        host,
        [asked[i].rows[row] for i, row in rows],
        hooks=hooks,
        numbers=numbers,
        batch_size=len(rows),
        last_logits=last_logits,
    )
    with torch.no_grad(), closing(passes) as done:
        for number, logits in done:
            i, row = rows[number]
            tails[i][row] = logits[-asked[i].tail(row) :]
    return [[own[row] for row in sorted(own)] for own in tails]


def _values(host: Host, asked: Sequence[Question], metric: Readout) -> Float[Tensor, " text"]:
    numbers = [question.number for question in asked for _ in question.rows]
    return read(metric, asked, tails_of(host, asked, numbers=numbers)).cpu()
