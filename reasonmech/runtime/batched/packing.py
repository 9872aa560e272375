"""Packing: the plans of many rows as one bound plan of a batch, equal edits applied together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import BoundPlan, stops_of
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.masks import PrecomputedMask, Where
from reasonmech.shapes import Mask


class Packed(NamedTuple):
    """A batch of plans.

    Attributes:
        bound: one plan for the whole batch, each intervention marked at its own rows.
        rows: which text every row of the batch is.
        slices: the rows of every plan.
        n_masked: tokens named in every row, summed over its plan.
    """

    bound: BoundPlan
    rows: Int[Tensor, " row"]
    slices: list[slice]
    n_masked: Int[Tensor, " row"]


def pack(
    host: Host,
    plans: Sequence[tuple[tuple[Intervention, ...], tuple[int, ...]]],
    marks_of: Callable[[Where], Mask],
) -> Packed:
    """One bound plan from (plan, rows of the texts) pairs.

    Two plans share an intervention where axis, edit, gate and error term are the same objects at the same
    place of the list: it is applied once, to the rows of both. The order within each plan stays.

    Args:
        marks_of: the marks of a mask over all texts [text, column].
    """
    rows = torch.tensor([row for _, plan_rows in plans for row in plan_rows])
    merged: dict[tuple[int, int, int, int, str], Intervention] = {}
    named: dict[tuple[int, int, int, int, str], tuple[list[int], list[Where]]] = {}
    slices, at = [], 0
    for plan, plan_rows in plans:
        slices.append(slice(at, at + len(plan_rows)))
        for place, i in enumerate(plan):
            key = (place, id(i.axis), id(i.edit), id(i.when), i.error)
            merged.setdefault(key, i)
            batch_rows, wheres = named.setdefault(key, ([], []))
            batch_rows += range(at, at + len(plan_rows))
            wheres += [i.where] * len(plan_rows)
        at += len(plan_rows)
    order = sorted(merged, key=lambda key: key[0])  # by place only: at one site plans apply in list order
    marks = {key: _marks(named[key], rows, marks_of) for key in order}
    together = tuple(replace(merged[key], where=PrecomputedMask(marks[key])) for key in order)
    n_masked = torch.stack([marks[key].sum(1) for key in order]).sum(0)
    return Packed(BoundPlan(host, together, together, stops_of(together)), rows, slices, n_masked)


def _marks(
    named: tuple[list[int], list[Where]], rows: Int[Tensor, " row"], marks_of: Callable[[Where], Mask]
) -> Mask:
    """Marks of one intervention over the batch, from the masks it has in some of its rows."""
    batch_rows, wheres = named
    number: dict[int, int] = {}
    masks: list[Mask] = []
    for where in wheres:
        if id(where) not in number:
            number[id(where)] = len(masks)
            masks.append(marks_of(where))
    which = torch.tensor([number[id(where)] for where in wheres])
    marks = torch.zeros(len(rows), masks[0].shape[1], dtype=torch.bool)
    marks[batch_rows] = torch.stack(masks)[which, rows[batch_rows]]
    return marks
