"""Cells: many plans on many texts, packed into batches, each computed from its first edit on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import fit
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.runtime.batched.jobs import Job, Masks, batches, below_of, jobs_of, pieces
from reasonmech.runtime.batched.packing import Packed, pack
from reasonmech.runtime.batched.prefix import Prefix
from reasonmech.runtime.memory import halving, split
from reasonmech.runtime.pass_rows import PassRow, check_positions
from reasonmech.runtime.readout import Question, Readout, questions, read

TEXT_ROWS: Final = 64  # texts whose clean keys and values are held at once


@final
@dataclass(frozen=True, eq=False)
class Cell:
    """One plan on one text; the empty plan is the clean run. Cells that share axis and edit objects run
    together.

    Attributes:
        text: its number in the run.
    """

    text: int
    plan: tuple[Intervention, ...]


@final
@dataclass(frozen=True, eq=False, repr=False)
class CellGrid:
    """Cells, and the texts that they number.

    Raises:
        DataError: a cell of a text that is not there, or a mask that names a position that its text lacks.
    """

    texts: Sequence[PassRow]
    cells: Sequence[Cell]

    def __post_init__(self) -> None:
        for number, cell in enumerate(self.cells):
            if not 0 <= cell.text < len(self.texts):
                raise DataError(
                    f"cell {number} has text {cell.text}", allowed=f"a text below {len(self.texts)}"
                )
            for intervention in cell.plan:
                # one text per cell first: `check_positions` walks all of them, and only to name the culprit
                if intervention.where.reach(cell.text) > len(self.texts[cell.text].ids):
                    check_positions([intervention], self.texts)

    def __repr__(self) -> str:
        return f"CellGrid({len(self.cells)} cells on {len(self.texts)} texts)"

    def __len__(self) -> int:
        return len(self.cells)


class CellTable(NamedTuple):
    """What came of every cell, in their order (CPU).

    Attributes:
        value: the readout.
        n_masked, n_gated: tokens that the masks named, and at which a gate was open, summed over the plan and
            over the rows that the readout needed.
    """

    value: Float[Tensor, " cell"]
    n_masked: Int[Tensor, " cell"]
    n_gated: Int[Tensor, " cell"]


def run_cells(
    host: Host,
    grid: CellGrid,
    readout: Readout,
    *,
    batch_rows: int = 128,
    progress: bool = False,
    desc: str = "cells",
) -> CellTable:
    """The readout of every cell; each equals `forward` of its text alone under its plan, up to rounding.

    Args:
        batch_rows: rows of one pass. Where memory is short the batch is halved, with a warning, and the run
            goes on.

    Raises:
        NoChangeError: a mask names no token of a cell's text.
        NonFiniteError: NaN or infinity came out of a cell.
        DataError: a readout that does not fit the texts.
        UnknownNameError, MismatchError, BindError: a plan does not fit the host (see `bind`).
    """
    cells = grid.cells
    plans = _fit_plans(host, cells)
    text_questions = questions(host, grid.texts, readout)
    value = torch.empty(len(cells))
    counts = torch.zeros(2, len(cells), dtype=torch.long)
    cells_of: dict[int, list[int]] = defaultdict(list)  # text -> its cells' numbers
    for number, cell in enumerate(cells):
        cells_of[cell.text].append(number)
    with (
        torch.no_grad(),
        tqdm(total=len(cells), desc=desc, unit="cell", delay=1.0, disable=not progress) as bar,
    ):
        groups = _groups(text_questions, sorted(cells_of))
        while groups:
            group = groups.pop(0)
            numbers = [number for text in group for number in cells_of[text]]
            try:
                prefix = _run_clean(
                    host, [text_questions[i] for i in group], [plans[number] for number in numbers]
                )
            except (RuntimeError, MemoryError) as error:
                groups[:0] = split(group, error, what="clean text")
                continue
            masks = Masks(prefix)
            jobs = jobs_of(
                masks,
                [text_questions[i] for i in group],
                numbers,
                [cells[number].text for number in numbers],
                [plans[number] for number in numbers],
            )
            for batch, results in _run_all(host, masks, jobs, readout, batch_rows):
                for job, (read_value, n_masked, n_gated) in zip(batch, results, strict=True):
                    value[job.number] = read_value
                    counts[0, job.number], counts[1, job.number] = n_masked, n_gated
                bar.update(len(batch))
    return CellTable(value, counts[0], counts[1])


def _fit_plans(host: Host, cells: Sequence[Cell]) -> list[tuple[Intervention, ...]]:
    """Every plan checked against the host, each intervention once."""
    fitted_by_id: dict[int, Intervention] = {}  # ids are safe: the cells hold every intervention
    first_alike: dict[tuple[int, int, int, str], Intervention] = {}  # a check does not depend on the mask
    for cell in cells:
        for i in cell.plan:
            if id(i) not in fitted_by_id:
                alike = first_alike.setdefault((id(i.axis), id(i.edit), id(i.when), i.error), i)
                fitted = fitted_by_id.get(id(alike))
                fitted_by_id[id(i)] = (
                    fit(i, host) if fitted is None else replace(fitted, where=i.where.resolve(host.tokenizer))
                )
    return [tuple(fitted_by_id[id(intervention)] for intervention in cell.plan) for cell in cells]


def _groups(text_questions: Sequence[Question], texts: Sequence[int]) -> list[Sequence[int]]:
    """Texts of like length, so many that their rows fit into one clean pass."""
    groups: list[list[int]] = []
    rows = TEXT_ROWS
    for text in sorted(texts, key=lambda i: len(text_questions[i].rows[0].ids)):
        if rows + text_questions[text].n_rows > TEXT_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append(text)
        rows += text_questions[text].n_rows
    return list(groups)


def _run_clean(host: Host, group: Sequence[Question], plans: Sequence[tuple[Intervention, ...]]) -> Prefix:
    """The clean pass over the rows of a group of texts, with the block outputs that the plans begin from."""
    rows = [row for question in group for row in question.rows]
    numbers = [question.number for question in group for _ in question.rows]
    layers = sorted({below_of(plan) for plan in plans if plan})
    last_logits = max(question.tail(row) for question in group for row in range(question.n_rows))
    return Prefix(host, rows, numbers, layers, last_logits=last_logits)


def _run_all(
    host: Host, masks: Masks, jobs: Sequence[Job], readout: Readout, batch_rows: int
) -> Iterator[tuple[Sequence[Job], list[tuple[float, int, int]]]]:
    clean = [job for job in jobs if not job.plan]
    if clean:
        logits = masks.prefix.logits
        tails = [[logits[row] for row in job.rows] for job in clean]
        values = read(readout, [job.question for job in clean], tails)
        _check_finite(values, clean, readout)
        yield clean, [(value, 0, 0) for value in values.tolist()]
    limit = batch_rows  # falls for good once memory was short: later batches do not try again
    for batch in batches([job for job in jobs if job.plan], masks.prefix, batch_rows):
        for piece in pieces(batch, limit):
            results, fitted = halving(piece, lambda part: _run_jobs(host, masks, part, readout), what="cell")
            if fitted < len(piece):
                limit = max(1, sum(len(job.rows) for job in piece[:fitted]))
            yield piece, results


def _run_jobs(
    host: Host, masks: Masks, jobs: Sequence[Job], readout: Readout
) -> list[tuple[float, int, int]]:
    prefix = masks.prefix
    packed: Packed = pack(host, [(job.plan, job.rows) for job in jobs], masks.of)
    start = min(job.start for job in jobs)
    last_logits = max(job.question.tail(row) for job in jobs for row in range(len(job.rows)))
    with Hooks(packed.bound) as hooks:
        hooks.begin(prefix.part(packed.rows, start))
        logits = prefix.run(packed.rows, below=jobs[0].below, start=start, last_logits=last_logits)
        n_gated = hooks.n_gated_by_row()
    values = read(readout, [job.question for job in jobs], [list(logits[i]) for i in packed.slices])
    _check_finite(values, jobs, readout)
    masked, gated = packed.n_masked.tolist(), n_gated.tolist()
    return [
        (value, sum(masked[i]), sum(gated[i]))
        for value, i in zip(values.tolist(), packed.slices, strict=True)
    ]


def _check_finite(values: Tensor, jobs: Sequence[Job], readout: Readout) -> None:
    if not bool(torch.isfinite(values).all()):
        bad = jobs[int((~torch.isfinite(values)).nonzero()[0])]
        edit = f"under {bad.plan[0].verb} at {bad.plan[0].site}" if bad.plan else "with nothing edited"
        raise NonFiniteError(
            f"{readout.name} is NaN or infinite for {bad.question.rows[0].name} {edit}",
            do="check the model's weights and dtype, the size of the plan's amounts, and the metric",
        )
