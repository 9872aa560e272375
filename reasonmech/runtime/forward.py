"""forward: teacher-forced passes over texts under a plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias, final

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import bind
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.labels import Labels
from reasonmech.rollout import Rollout
from reasonmech.runtime.passes import Text, check_positions, run_passes
from reasonmech.runtime.receipt.receipt import Receipt, ReceiptMode, check_receipt, make_receipt
from reasonmech.runtime.receipt.tally import Tally

Source: TypeAlias = str | Sequence[int] | Rollout
Marks: TypeAlias = Labels | Sequence[Collection[int]]


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
    texts: Sequence[Source],
    plan: Sequence[Intervention] = (),
    *,
    labels: Mapping[str, Marks] | None = None,
    batch_size: int = 64,
    receipt: ReceiptMode = "sample",
    progress: bool = False,
) -> ForwardResult:
    """Logits of texts, token ids or rollouts under a plan; left-padded batches equal their rows run alone.

    Args:
        texts: of a plain text or token ids everything is prompt; a rollout knows its prompt.
        labels: for `labelled(name)`: `Labels` made from these rollouts (their positive rows), or per text the
            absolute positions that carry the label.
        receipt: how many rows the KL is measured on: 16 at most, all, or no KL at all.

    Raises:
        NeverFiredError: a mask matched no token of all texts; the ForwardResult is on `.result`.
        NonFiniteError: NaN or infinite logits; the text is named.
        UnknownNameError, MismatchError, BindError: the plan does not fit the host (see `bind`).
        DataError: no text, an empty one, or labels or positions outside the texts.
    """
    if len(texts) == 0:
        raise DataError("no text to read", do="give at least one")
    rows = texts_of(host, texts, labels or {})
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


def texts_of(host: Host, sources: Sequence[Source], labels: Mapping[str, Marks]) -> list[Text]:
    """Rows of a run from texts, token ids or rollouts.

    Raises:
        DataError: labels outside the texts, or for another number of them.
    """
    positions = {name: _positions(name, marks, len(sources)) for name, marks in labels.items()}
    rows = []
    for row, source in enumerate(sources):
        own = {name: marked[row] for name, marked in positions.items()}
        if isinstance(source, Rollout):
            name = f"problem {source.problem.id!r}, sample {source.sample}"
            text = Text(source.all_ids, len(source.prompt_ids), name, own)
        else:
            ids = tuple(host.encode(source) if isinstance(source, str) else (int(i) for i in source))
            text = Text(ids, len(ids), f"text {row}", own)
        outside = [p for marked in own.values() for p in marked if not 0 <= p < len(text.ids)]
        if outside:
            raise DataError(
                f"a label at position {outside[0]} of {text.name}, which has {len(text.ids)} tokens",
                do="positions are absolute, prompt included, padding not",
            )
        rows.append(text)
    return rows


def _positions(name: str, marks: Marks, n: int) -> list[frozenset[int]]:
    if isinstance(marks, Labels):
        found: list[set[int]] = [set() for _ in range(n)]
        for row, position in zip(marks.rollout[marks.positive], marks.position[marks.positive], strict=True):
            if row >= n:
                raise DataError(f"labels {name!r} speak of rollout {row}, there are {n} texts")
            found[int(row)].add(int(position))
        return [frozenset(positions) for positions in found]
    if len(marks) != n:
        raise DataError(f"{len(marks)} sets of {name!r} positions for {n} texts", do="give one set per text")
    return [frozenset(int(position) for position in positions) for positions in marks]
