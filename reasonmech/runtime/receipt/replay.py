"""Replay: rows of a run again with their own tokens, clean and under the plan, for the KL between the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.interventions.bind import BoundPlan
from reasonmech.interventions.hooks import Hooks
from reasonmech.problem import Problem
from reasonmech.runtime.decoding.decoder import Decoder, RowInfo
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import RowLogits, run_passes
from reasonmech.runtime.receipt.parity import noop_parity
from reasonmech.step import CausalLabeller

MAX_LOGITS: Final = 2**26  # numbers of one pass of a replay


class Replay(NamedTuple):
    """What replaying some rows gave.

    Attributes:
        kl: KL(edited || clean) in nats per chosen token; None when there was no token.
        n_tokens: chosen tokens. Of a text that is all prompt every position counts.
        noop_parity: see `Receipt`.
    """

    kl: float | None
    n_tokens: int
    noop_parity: float


def replay(bound: BoundPlan, rows: Sequence[PassRow], numbers: Sequence[int], *, batch_size: int) -> Replay:
    """Some rows of a run again, teacher-forced; they keep their number, which sources of `patch` follow."""
    host = bound.host
    longest = max((len(rows[number].ids) for number in numbers), default=1)
    together = max(1, min(batch_size, MAX_LOGITS // (longest * host.vocab_size)))
    total, n_tokens = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(numbers), together):
            chunk = numbers[start : start + together]
            batch = [_with_labels(rows[number], bound.labellers) for number in chunk]
            clean = {i: x[_choosing(batch[i])] for i, x in run_passes(host, batch, batch_size=together)}
            for i, logits in _edited(bound, batch, chunk):
                p, q = (x.float().log_softmax(-1) for x in (logits, clean.pop(i)))
                total += float((p.exp() * (p - q)).sum())
                n_tokens += len(p)
    return Replay(total / n_tokens if n_tokens else None, n_tokens, noop_parity(host))


def _with_labels(row: PassRow, labellers: Mapping[str, CausalLabeller]) -> PassRow:
    """The same row with the positions that causal labellers mark in it."""
    if not labellers:
        return row
    labels = {
        name: frozenset(i for i, mark in enumerate(labeller(row.ids, row.prompt_length)) if mark)
        for name, labeller in labellers.items()
    }
    return replace(row, labels=labels)


def _choosing(row: PassRow) -> slice:
    """Positions whose logits chose the answer's tokens; all of a text that is all prompt."""
    if row.prompt_length == len(row.ids):
        return slice(None)
    return slice(row.prompt_length - 1, len(row.ids) - 1)


def _edited(bound: BoundPlan, batch: Sequence[PassRow], numbers: Sequence[int]) -> Iterator[RowLogits]:
    """Edited logits of the positions that chose the answers' tokens."""
    if bound.reads_partner or bound.reconsiders:  # gates that exist only while decoding
        decoded = decode_again(HostDecoder(bound), batch, numbers)
        yield from (RowLogits(i, logits) for i, logits in enumerate(decoded))
        return
    for i, logits in run_passes(
        bound.host, batch, hooks=Hooks(bound), numbers=numbers, batch_size=len(batch)
    ):
        yield RowLogits(i, logits[_choosing(batch[i])])


def decode_again(
    decoder: Decoder, rows: Sequence[PassRow], numbers: Sequence[int]
) -> list[Float[Tensor, "chosen vocab"]]:
    """Logits that chose each token of every row's answer, as the decoder gives them for the same tokens.

    Args:
        numbers: of each row in the run, which a plan's sources are aligned with.
    """
    prompts = [row.ids[: row.prompt_length] for row in rows]
    answers = [row.ids[row.prompt_length :] for row in rows]
    width, room = max(map(len, prompts)), max(map(len, answers))
    ids = torch.tensor([[decoder.pad_id] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[False] * (width - len(p)) + [True] * len(p) for p in prompts])
    infos = [
        RowInfo(number, Problem(row.name, "", ""), 0, 0, row.prompt_length, 0.0)
        for number, row in zip(numbers, rows, strict=True)
    ]
    chosen: list[list[Tensor]] = [[] for _ in rows]
    assert all(answers), "a rollout has at least one token"
    alive = list(range(len(rows)))
    state = decoder.start(ids, mask, infos, room)
    try:
        for offset in range(room):
            for i, logits in zip(alive, state.next_logits(), strict=True):
                chosen[i].append(logits)
            going_on = [j for j, i in enumerate(alive) if len(answers[i]) > offset + 1]
            if not going_on:
                break
            state.advance(torch.tensor([answers[i][offset] for i in alive]))
            state.select(torch.tensor(going_on))
            alive = [alive[j] for j in going_on]
    finally:
        state.close()
    return [torch.stack(logits) for logits in chosen]
