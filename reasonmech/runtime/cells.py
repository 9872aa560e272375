"""Cells: many plans on many texts, packed into batches, each computed from its first edit on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.errors import DataError, NeverFiredError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import fit
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.where import Where
from reasonmech.runtime.memory import halving, split
from reasonmech.runtime.packing import Packed, pack
from reasonmech.runtime.passes import Text, check_positions
from reasonmech.runtime.prefix import NO_LAYER, Prefix, last_unread
from reasonmech.runtime.readout import Question, Readout, questions, read
from reasonmech.shapes import Mask

TEXT_ROWS: Final = 64  # texts whose clean keys and values are held at once


@final
@dataclass(frozen=True, eq=False)
class Cell:
    """One plan on one text. Cells that share axis and edit objects are applied together.

    Attributes:
        text: its number in the run.
    """

    text: int
    plan: tuple[Intervention, ...]


class CellTable(NamedTuple):
    """What came of every cell, in their order (CPU).

    Attributes:
        value: the readout.
        n_masked, n_fired: tokens that the masks named, and at which a gate was open, summed over the plan and over
            the rows that the readout needed.
    """

    value: Float[Tensor, " cell"]
    n_masked: Int[Tensor, " cell"]
    n_fired: Int[Tensor, " cell"]


class _Job(NamedTuple):
    """One cell, ready to run: blocks up to `below` and columns before `start` are taken from the clean pass."""

    number: int
    plan: tuple[Intervention, ...]
    rows: tuple[int, ...]  # of the prefix
    question: Question
    below: int
    start: int


def run_cells(
    host: Host,
    texts: Sequence[Text],
    cells: Sequence[Cell],
    readout: Readout,
    *,
    batch_rows: int = 128,
    progress: bool = False,
    desc: str = "cells",
) -> CellTable:
    """The readout of every cell; each equals `forward` of its text alone under its plan, up to rounding.

    Args:
        batch_rows: rows of one pass. Where memory is short the batch is halved, with a warning, and the run goes on.

    Raises:
        NeverFiredError: a mask names no token of a cell's text.
        NonFiniteError: NaN or infinity came out of a cell.
        DataError: a text or position that is not there, or a readout that does not fit the texts.
        UnknownNameError, MismatchError, BindError: a plan does not fit the host (see `bind`).
    """
    ready = _fitted(host, cells, len(texts))
    for cell, plan in zip(cells, ready, strict=True):
        for intervention in plan:
            needed = intervention.where.reach(cell.text)
            if needed > len(texts[cell.text].ids):
                check_positions([intervention], texts)
    asked = questions(host, texts, readout)
    value = torch.empty(len(cells))
    counts = torch.zeros(2, len(cells), dtype=torch.long)
    of_text: dict[int, list[int]] = defaultdict(list)
    for number, cell in enumerate(cells):
        of_text[cell.text].append(number)
    with torch.no_grad(), tqdm(total=len(cells), desc=desc, unit="cell", delay=1.0, disable=not progress) as bar:
        groups = _groups(asked, sorted(of_text))
        while groups:
            group = groups.pop(0)
            numbers = [number for text in group for number in of_text[text]]
            try:
                prefix = _clean(host, [asked[i] for i in group], [ready[number] for number in numbers])
            except (RuntimeError, MemoryError) as error:
                groups[:0] = split(group, error, what="clean text")
                continue
            jobs = _jobs(prefix, [asked[i] for i in group], numbers, cells, ready)
            for done, found in _run_all(host, prefix, jobs, readout, batch_rows):
                for job, (one, masked, fired) in zip(done, found, strict=True):
                    value[job.number], counts[0, job.number], counts[1, job.number] = one, masked, fired
                bar.update(len(done))
    return CellTable(value, counts[0], counts[1])


def _fitted(host: Host, cells: Sequence[Cell], n_texts: int) -> list[tuple[Intervention, ...]]:
    """Every plan checked against the host, each intervention once."""
    known: dict[int, Intervention] = {}
    for number, cell in enumerate(cells):
        if not 0 <= cell.text < n_texts or not cell.plan:
            raise DataError(
                f"cell {number} has text {cell.text} and {len(cell.plan)} interventions",
                allowed=f"a text below {n_texts} and at least one intervention",
            )
        for intervention in cell.plan:
            if id(intervention) not in known:
                known[id(intervention)] = fit(intervention, host)
    return [tuple(known[id(intervention)] for intervention in cell.plan) for cell in cells]


def _groups(asked: Sequence[Question], texts: Sequence[int]) -> list[Sequence[int]]:
    """Texts of like length, so many that their rows fit into one clean pass."""
    groups: list[list[int]] = []
    rows = TEXT_ROWS
    for text in sorted(texts, key=lambda i: len(asked[i].rows[0].ids)):
        if rows + asked[text].n_rows > TEXT_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append(text)
        rows += asked[text].n_rows
    return list(groups)


def _clean(host: Host, asked: Sequence[Question], plans: Sequence[tuple[Intervention, ...]]) -> Prefix:
    """The clean pass over the rows of some questions, kept for these plans."""
    rows = [row for question in asked for row in question.rows]
    numbers = [question.number for question in asked for _ in question.rows]
    return Prefix(host, rows, numbers, sorted({_below(plan) for plan in plans}))


def _jobs(
    prefix: Prefix,
    asked: Sequence[Question],
    numbers: Sequence[int],
    cells: Sequence[Cell],
    ready: Sequence[tuple[Intervention, ...]],
) -> list[_Job]:
    masks = _Masks(prefix)
    first = {question.number: at for question, at in zip(asked, _offsets(asked), strict=True)}
    questions_of = {question.number: question for question in asked}
    return [
        _job(number, cells[number], ready[number], questions_of[cells[number].text], first, prefix, masks)
        for number in numbers
    ]


def _run_all(
    host: Host, prefix: Prefix, jobs: Sequence[_Job], readout: Readout, batch_rows: int
) -> Iterator[tuple[list[_Job], list[tuple[float, int, int]]]]:
    masks, limit = _Masks(prefix), batch_rows
    for batch in _batches(jobs, batch_rows):
        for piece in _pieces(batch, limit):
            found, fitted = halving(piece, lambda some: _run_jobs(host, prefix, masks, some, readout), what="cell")
            if fitted < len(piece):
                limit = max(1, sum(len(job.rows) for job in piece[:fitted]))
            yield list(piece), found


def _offsets(asked: Sequence[Question]) -> list[int]:
    found, at = [], 0
    for question in asked:
        found.append(at)
        at += question.n_rows
    return found


def _below(plan: Sequence[Intervention]) -> int:
    sites = [intervention.site for intervention in plan]
    sites += [reads.at for reads in (intervention.when.reads for intervention in plan) if reads is not None]
    return max(NO_LAYER, min(last_unread(site) for site in sites))


@final
class _Masks:
    """Marks of every mask over the prefix' texts, computed once."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix
        self._known: dict[int, tuple[Where, Mask]] = {}

    def of(self, where: Where) -> Mask:
        """[prefix row, column]"""
        if id(where) not in self._known:
            step = self.prefix.step
            self._known[id(where)] = (where, where.mask(step) & step.mask)  # the mask is kept: its id stays its own
        return self._known[id(where)][1]


def _job(
    number: int,
    cell: Cell,
    plan: tuple[Intervention, ...],
    question: Question,
    first: dict[int, int],
    prefix: Prefix,
    masks: _Masks,
) -> _Job:
    rows = tuple(range(first[question.number], first[question.number] + question.n_rows))
    width = prefix.step.ids.shape[1]
    start = min(width - question.tail(row) for row in range(question.n_rows))
    for given, intervention in zip(cell.plan, plan, strict=True):
        marks = masks.of(intervention.where)[list(rows)]
        if not bool(marks[0].any()):
            raise NeverFiredError(
                f"{given.verb} at {given.site}: its mask {given.where} names no token of {question.rows[0].name}",
                allowed="a mask that names at least one token of every text it is run on",
                do="leave the cell out, or name other tokens",
            )
        start = min(start, int(marks.any(0).float().argmax()))
    return _Job(number, plan, rows, question, _below(plan), start)


def _batches(jobs: Sequence[_Job], batch_rows: int) -> Iterator[list[_Job]]:
    """Jobs that begin at one block and at neighbouring columns, as many as rows fit."""
    batch: list[_Job] = []
    rows = 0
    for job in sorted(jobs, key=lambda job: (job.below, job.start, job.number)):
        if batch and (job.below != batch[0].below or rows + len(job.rows) > batch_rows):
            yield batch
            batch, rows = [], 0
        batch.append(job)
        rows += len(job.rows)
    if batch:
        yield batch


def _pieces(batch: Sequence[_Job], limit: int) -> Iterator[Sequence[_Job]]:
    """A batch, cut where memory was found to be shorter than was asked for."""
    at = 0
    while at < len(batch):
        size, rows = 1, len(batch[at].rows)
        while at + size < len(batch) and rows + len(batch[at + size].rows) <= limit:
            rows += len(batch[at + size].rows)
            size += 1
        yield batch[at : at + size]
        at += size


def _run_jobs(
    host: Host, prefix: Prefix, masks: _Masks, jobs: Sequence[_Job], readout: Readout
) -> list[tuple[float, int, int]]:
    packed: Packed = pack(host, [(job.plan, job.rows) for job in jobs], masks.of)
    start = min(job.start for job in jobs)
    keep = max(job.question.tail(row) for job in jobs for row in range(len(job.rows)))
    with Hooks(packed.bound) as hooks:
        hooks.begin(prefix.part(packed.rows, start))
        logits = prefix.run(packed.rows, below=jobs[0].below, start=start, keep=keep)
        n_fired = hooks.fired_by_row()
    values = read(readout, [job.question for job in jobs], [list(logits[i]) for i in packed.slices])
    if not bool(torch.isfinite(values).all()):
        bad = jobs[int((~torch.isfinite(values)).nonzero()[0])]
        raise NonFiniteError(
            f"{readout.name} is NaN or infinite for {bad.question.rows[0].name} under {bad.plan[0].verb} at"
            f" {bad.plan[0].site}",
            do="check the model's weights and dtype, the size of the plan's amounts, and the metric",
        )
    return [
        (float(value), int(packed.n_masked[i].sum()), int(n_fired[i].sum()))
        for value, i in zip(values.cpu(), packed.slices, strict=True)
    ]
