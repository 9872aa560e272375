"""Passes: uncached forward passes over whole texts, batched and left-padded, under a bound plan or none."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import run_alone
from reasonmech.interventions.hooks import Hooks
from reasonmech.runtime.like_lengths import like_lengths
from reasonmech.runtime.memory import Needs, halving, undone_on_failure
from reasonmech.runtime.pass_bytes import pass_bytes
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.shapes import Mask
from reasonmech.step import Step


class RowLogits(NamedTuple):
    """Logits of one row, on the model's device."""

    row: int
    logits: Float[Tensor, "pos vocab"]


def run_passes(
    host: Host,
    rows: Sequence[PassRow],
    *,
    hooks: Hooks | None = None,
    numbers: Sequence[int] | None = None,
    batch_size: int = 64,
    last_logits: int = 0,
) -> Generator[RowLogits, None, None]:
    """Yield every row's logits; rows of like length share a batch, the order is by length.

    Args:
        numbers: of each row in the whole run that a plan's sources are aligned with. None: these rows are
            all of it.
        last_logits: compute the logits of a row's last so many tokens only; 0: of all.
        batch_size: rows per pass; halved, with a warning, where memory is short.

    Raises:
        NonFiniteError: NaN or infinite logits; the row is named.
        DataError: a row without tokens, or with more than the model has positions.
    """
    empty = [row.name for row in rows if not row.ids]
    if empty:
        raise DataError(f"{empty[0]} encodes to no token", do="give a text that this tokenizer knows")
    check_lengths(host, rows)  # before the first pass: the longest row is run last

    def run(batch: Sequence[int]) -> list[RowLogits]:
        in_run = batch if numbers is None else [numbers[i] for i in batch]
        step = step_of(host, [rows[i] for i in batch], in_run)
        with undone_on_failure(None if hooks is None else hooks.recorder):
            if hooks is not None:
                hooks.begin(step)
            logits = full_logits(host, step, last_logits=last_logits)
            if hooks is not None:
                hooks.end()
        return [_finite(rows[i], i, padded) for i, padded in zip(batch, logits, strict=True)]

    def n_bytes(batch: Sequence[int]) -> int:
        width = len(rows[batch[-1]].ids)
        return pass_bytes(host, len(batch), width, logits=last_logits or width)

    needs = Needs(n_bytes, host.device, do="give shorter texts, or a model in a narrower dtype")
    with hooks or nullcontext():
        for batch in like_lengths([len(row.ids) for row in rows], batch_size):
            results, _ = halving(batch, run, what="text", needs=needs)
            yield from results


def _finite(row: PassRow, number: int, padded: Float[Tensor, "width vocab"]) -> RowLogits:
    """A row's own logits, padding removed."""
    logits = padded[-len(row.ids) :]
    if not bool(torch.isfinite(logits).all()):
        raise NonFiniteError(
            f"NaN or infinite logits in {row.name}",
            do="check the model's weights and dtype, and the size of the plan's amounts",
        )
    return RowLogits(number, logits)


def full_logits(host: Host, step: Step, *, last_logits: int = 0) -> Float[Tensor, "batch pos vocab"]:
    """One uncached pass of the model over a whole step, under its hooks; the last so many logits (0: all)."""
    ids, attention = step.ids.to(host.device), step.mask.long().to(host.device)
    positions = step.positions.clamp_min(0).to(host.device)
    return run_alone(
        host,
        lambda: host.model(
            input_ids=ids,
            attention_mask=attention,
            position_ids=positions,
            use_cache=False,
            logits_to_keep=last_logits,
        ),
    ).logits


def check_lengths(host: Host, rows: Sequence[PassRow]) -> None:
    """Raise DataError where a row has more tokens than the model has positions."""
    room = host.n_positions  # read off the configuration once
    for row in rows:
        if len(row.ids) > room:
            host.check_length(len(row.ids), row.name)


def step_of(host: Host, rows: Sequence[PassRow], numbers: Sequence[int]) -> Step:
    """The step of one uncached pass over rows, left-padded to the longest; `numbers` are theirs in the run.

    Raises:
        DataError: a row has more tokens than the model has positions.
    """
    check_lengths(host, rows)
    width = max(len(row.ids) for row in rows)
    pads = [width - len(row.ids) for row in rows]
    names = sorted({name for row in rows for name in row.labels})
    padding = host.pad_id
    return Step(
        ids=torch.tensor([[padding] * pad + list(row.ids) for pad, row in zip(pads, rows, strict=True)]),
        mask=torch.arange(width) >= torch.tensor(pads)[:, None],
        prompt_length=torch.tensor([row.prompt_length for row in rows]),
        new=width,
        rows=torch.tensor(numbers),
        labels={name: _marks(rows, pads, width, name) for name in names},
    )


def _marks(rows: Sequence[PassRow], pads: Sequence[int], width: int, name: str) -> Mask:
    marks = torch.zeros(len(rows), width, dtype=torch.bool)
    for number, (pad, row) in enumerate(zip(pads, rows, strict=True)):
        for position in row.labels.get(name, frozenset()):
            marks[number, pad + position] = True
    return marks
