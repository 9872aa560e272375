"""Replay: rows of a run again with their own tokens, clean and under the plan, for the KL between the two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, final

import torch
from torch import Tensor

from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import BoundPlan
from reasonmech.interventions.hooks import Hooks
from reasonmech.runtime.decoding.decode_again import decode_again
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


@final
class CleanLogits:
    """Clean logits of the rows of one run, for several plans on the very same rows of one host.

    They are kept where all rows that are replayed fit into one pass; else they are computed again.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Tensor] = {}

    def of(self, host: Host, batch: Sequence[PassRow], numbers: Sequence[int], *, keep: bool) -> list[Tensor]:
        """Logits that chose each row's tokens, in the order of the rows."""
        if self._kept.keys() >= {*numbers}:
            return [self._kept[number] for number in numbers]
        passes = dict(
            _chosen(batch, run_passes(host, batch, batch_size=len(batch), last_logits=_read(batch)))
        )
        logits = [passes[i] for i in range(len(batch))]
        if keep:
            self._kept |= dict(zip(numbers, logits, strict=True))
        return logits


def replay(
    bound: BoundPlan,
    rows: Sequence[PassRow],
    numbers: Sequence[int],
    *,
    batch_size: int,
    clean: CleanLogits | None = None,
) -> Replay:
    """Some rows of a run again, teacher-forced; they keep their number, which sources of `patch` follow.

    Args:
        clean: of earlier plans on the same rows; None: this is the only one.
    """
    untouched = clean or CleanLogits()
    host = bound.host
    longest = max((len(rows[number].ids) for number in numbers), default=1)
    together = max(1, min(batch_size, MAX_LOGITS // (longest * host.vocab_size)))
    decodes = bound.reads_partner or bound.reconsiders  # gates that exist only while decoding
    total, n_tokens = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(numbers), together):
            chunk = numbers[start : start + together]
            batch = [_with_labels(rows[number], bound.labellers) for number in chunk]
            plain = untouched.of(host, batch, chunk, keep=len(numbers) <= together)
            if decodes:
                edited = dict(enumerate(decode_again(HostDecoder(bound), batch, chunk)))
            else:
                passes = run_passes(
                    host,
                    batch,
                    hooks=Hooks(bound),
                    numbers=chunk,
                    batch_size=together,
                    last_logits=_read(batch),
                )
                edited = dict(_chosen(batch, passes))
            for i, logits in edited.items():
                tokens = logits.shape[-1]  # fewer than the host has, where its partner has fewer
                p, q = (x[:, :tokens].float().log_softmax(-1) for x in (logits, plain[i]))
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


def _read(rows: Sequence[PassRow]) -> int:
    """How many last logits hold those that chose every row's tokens; 0: all, where a text is all prompt."""
    answers = [len(row.ids) - row.prompt_length for row in rows]
    return 0 if 0 in answers else max(answers, default=-1) + 1


def _chosen(rows: Sequence[PassRow], passes: Iterable[RowLogits]) -> Iterator[tuple[int, Tensor]]:
    """Number of a row and the logits that chose its answer's tokens; all of a text that is all prompt."""
    for number, logits in passes:
        answer = len(rows[number].ids) - rows[number].prompt_length
        yield number, logits[-answer - 1 : -1] if answer else logits
