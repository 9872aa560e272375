"""Jobs: cells made ready to run, and the batches that they are run in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, final

import torch

from reasonmech.errors import NoChangeError
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.masks import Where
from reasonmech.runtime.batched.prefix import Prefix
from reasonmech.runtime.readout import Question
from reasonmech.runtime.served import NO_LAYER, last_unread
from reasonmech.shapes import Mask

# (tokens, width) at which a pass is full: more tokens run no faster each. Narrower models fill later, and so
# does an accelerator, where a pass costs its launches first.
FULL_CPU: Final = (256, 256)
FULL_DEVICE: Final = (16_384, 1_024)


class Job(NamedTuple):
    """One cell, ready to run.

    Attributes:
        number: of the cell.
        rows: of the prefix.
        below, start: blocks up to `below` and columns before `start` are taken from the clean pass.
    """

    number: int
    plan: tuple[Intervention, ...]
    rows: tuple[int, ...]
    question: Question
    below: int
    start: int


def jobs_of(
    masks: Masks,
    group: Sequence[Question],
    numbers: Sequence[int],
    texts: Sequence[int],
    plans: Sequence[tuple[Intervention, ...]],
) -> list[Job]:
    """Cells over one prefix as jobs.

    Args:
        group: the questions whose rows the prefix holds, in its order.
        numbers: of the cells; `texts` and `plans` hold the text and the plan of each.

    Raises:
        NoChangeError: a mask names no token of a cell's text.
    """
    first = {question.number: at for question, at in zip(group, _offsets(group), strict=True)}
    questions_of = {question.number: question for question in group}
    return [
        _job(number, plan, questions_of[text], first[text], masks)
        for number, text, plan in zip(numbers, texts, plans, strict=True)
    ]


def _offsets(group: Sequence[Question]) -> list[int]:
    """The first row of every question in the prefix."""
    return [0, *accumulate(question.n_rows for question in group[:-1])]


def below_of(plan: Sequence[Intervention]) -> int:
    """The last block that a plan leaves as it is in the clean pass, with all blocks before it."""
    sites = [intervention.site for intervention in plan]
    sites += [reads.at for reads in (intervention.when.reads for intervention in plan) if reads is not None]
    return max(NO_LAYER, min((last_unread(site) for site in sites), default=NO_LAYER))


@final
class Masks:
    """Marks of every mask over the prefix' texts, computed once."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix
        self._by_mask: dict[Where, tuple[Mask, list[int]]] = {}
        # The id spares hashing a mask at every look-up; the mask is held so that no other takes its id.
        self._by_id: dict[int, tuple[Where, tuple[Mask, list[int]]]] = {}

    def of(self, where: Where) -> Mask:
        """[prefix row, column]"""
        return self._at(where)[0]

    def first(self, where: Where) -> list[int]:
        """Column of the first mark in every row of the prefix; the width where there is none."""
        return self._at(where)[1]

    def _at(self, where: Where) -> tuple[Mask, list[int]]:
        if id(where) not in self._by_id:
            if where not in self._by_mask:
                step = self.prefix.step
                marks = where.mask(step) & step.mask
                first = torch.where(marks.any(1), marks.int().argmax(1), marks.shape[1])
                self._by_mask[where] = (marks, first.tolist())
            self._by_id[id(where)] = (where, self._by_mask[where])
        return self._by_id[id(where)][1]


def _job(number: int, plan: tuple[Intervention, ...], question: Question, first: int, masks: Masks) -> Job:
    rows = tuple(range(first, first + question.n_rows))
    width = masks.prefix.step.ids.shape[1]
    start = min(width - question.tail(row) for row in range(question.n_rows))
    for intervention in plan:
        columns = masks.first(intervention.where)
        if columns[rows[0]] == width:
            why = intervention.where.absence([question.rows[0].ids])
            raise NoChangeError(
                f"{intervention.verb} at {intervention.site}: its mask {intervention.where} names no token of"
                f" {question.rows[0].name}" + (f" ({why})" if why else ""),
                allowed="a mask that names at least one token of every text it is run on",
                do="leave the cell out, or name other tokens",
            )
        start = min(start, *(columns[row] for row in rows))
    return Job(number, plan, rows, question, below_of(plan), start)


def batches(jobs: Sequence[Job], prefix: Prefix, batch_rows: int) -> Iterator[list[Job]]:
    """Jobs that begin at one block and at neighbouring columns: as many as rows fit, or as fill a pass.

    A pass that is full already is not lengthened by jobs that begin later: they would run columns for
    nothing.
    """
    batch: list[Job] = []
    rows, width = 0, prefix.step.ids.shape[1]
    tokens, like = FULL_CPU if prefix.host.device.type == "cpu" else FULL_DEVICE
    full = tokens * max(1.0, like / prefix.host.d_model) ** 2
    for job in sorted(jobs, key=lambda job: (job.below, job.start, job.number)):
        if batch and (
            job.below != batch[0].below
            or rows + len(job.rows) > batch_rows
            or (job.start > batch[0].start and rows * (width - batch[0].start) >= full)
        ):
            yield batch
            batch, rows = [], 0
        batch.append(job)
        rows += len(job.rows)
    if batch:
        yield batch


def pieces(batch: Sequence[Job], limit: int) -> Iterator[Sequence[Job]]:
    """A batch, cut where memory was found to be shorter than was asked for."""
    at = 0
    while at < len(batch):
        size, rows = 1, len(batch[at].rows)
        while at + size < len(batch) and rows + len(batch[at + size].rows) <= limit:
            rows += len(batch[at + size].rows)
            size += 1
        yield batch[at : at + size]
        at += size
