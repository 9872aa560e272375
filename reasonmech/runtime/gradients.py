"""Gradients: what sites hold at chosen tokens, and how a metric changes with it, from one backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.mode import fitting
from reasonmech.runtime.memory import halving
from reasonmech.runtime.passes import full_logits, step_of
from reasonmech.runtime.readout import Question, Readout, question_batches, questions, read
from reasonmech.runtime.streams import ChosenTokens, Streams, attached, columns_of
from reasonmech.site import Site

NUDGE: Final = 0.1  # standard deviations of the logits by which stationarity is tried
STATIONARY: Final = 1e-3  # gradient at the point, as a share of the gradient at a nudge from it


class Gradients(NamedTuple):
    """One pass over all texts.

    Attributes:
        value: the metric after every text (CPU).
        stream: what each site held at the chosen tokens, texts laid end to end, float32.
        gradient: d(metric of the token's own text) / d(stream), the same shape.
    """

    value: Float[Tensor, " text"]
    stream: Streams
    gradient: Streams


@final
@dataclass(frozen=True)
class _TextGradient:
    """Of one text: the metric, and per site stream and gradient [position, width]."""

    value: Tensor
    stream: dict[Site, Tensor]
    gradient: dict[Site, Tensor]
    slope: float  # |d metric / d logits| at the run
    nudged_slope: float  # and at a nudge from it


class _GraphPass(NamedTuple):
    """A pass with its graph: logits [row, tail, vocab], what sites held, columns of each row's tokens."""

    logits: Tensor
    streams: dict[Site, Tensor]
    columns: list[Tensor]


@fitting("a gradient")
def gradients(
    host: Host,
    tokens: ChosenTokens,
    sites: Sequence[Site],
    readout: Readout,
    *,
    moved: Streams | None = None,
    batch_rows: int = 64,
) -> Gradients:
    """Gradient of a metric with respect to what sites hold at chosen tokens, all in one backward pass.

    A continuation of several tokens is a row of its own, in which the text's tokens hold the same stream: the
    gradient is summed over the rows of a text. Blocks below the first site build no graph.

    Args:
        moved: put this in place of what a site holds at the tokens.
        batch_rows: rows per pass; halved, with a warning, where memory is short.

    Raises:
        DataError: the metric does not depend on the logits, or is stationary in them: no first order.
        NonFiniteError: the metric or its gradient is NaN or infinite; the text is named.
    """
    moved_by_text = {site: tokens.by_text(stream) for site, stream in (moved or {}).items()}
    by_length = sorted(questions(host, tokens.texts, readout), key=lambda q: len(q.rows[0].ids))
    by_text: dict[int, _TextGradient] = {}

    def run(batch: Sequence[Question]) -> list[_TextGradient]:
        return _backward(readout, batch, _forward(host, batch, tokens, sites, moved_by_text))

    for batch in question_batches(by_length, batch_rows):
        parts, _ = halving(batch, run, what="text")
        by_text |= {question.number: part for question, part in zip(batch, parts, strict=True)}
    ordered = [by_text[number] for number in range(len(tokens.texts))]
    # a slope of rounding errors is none: in bfloat16 they are larger than STATIONARY
    _refuse_stationary(readout, ordered, max(STATIONARY, 20 * torch.finfo(host.dtype).eps))
    return Gradients(
        torch.stack([part.value for part in ordered]),
        {site: torch.cat([part.stream[site] for part in ordered]) for site in sites},
        {site: torch.cat([part.gradient[site] for part in ordered]) for site in sites},
    )


def _forward(
    host: Host,
    batch: Sequence[Question],
    tokens: ChosenTokens,
    sites: Sequence[Site],
    moved: Mapping[Site, Sequence[Tensor]],
) -> _GraphPass:
    """One pass over the rows of some questions; its graph begins at the first site."""
    numbers = [question.number for question in batch for _ in question.rows]
    step = step_of(host, [row for question in batch for row in question.rows], numbers)
    columns = [
        columns_of(mask, tokens.positions[number]) for mask, number in zip(step.mask, numbers, strict=True)
    ]
    streams: dict[Site, Tensor] = {}

    def observe(site: Site, x: Tensor) -> Tensor:
        if site in moved:
            x = x.clone()  # the model's own tensor is not written to
            for row, number in enumerate(numbers):
                x[row, columns[row].to(x.device)] = moved[site][number].to(x)
        torch.set_grad_enabled(True)  # from the first site on; the end of no_grad below restores it
        # a view: the gradient of this very site, whatever else in the block uses the tensor
        streams[site] = x.view_as(x) if streams else x.detach().requires_grad_()
        return streams[site]

    tail = max(question.tail(row) for question in batch for row in range(question.n_rows))
    with torch.no_grad(), attached(host, sites, observe):
        logits = full_logits(host, step, last_logits=tail)
    return _GraphPass(logits, streams, columns)


def _backward(readout: Readout, batch: Sequence[Question], graph: _GraphPass) -> list[_TextGradient]:
    """Gradients of every question's text, from one backward pass."""
    logits, streams, columns = graph
    with torch.enable_grad():
        value = read(readout, batch, _tails(logits, batch))
        if not value.requires_grad:
            raise _flat_error(readout, "does not depend on what the model says")
        slope, *by_site = torch.autograd.grad(
            value.sum(), [logits, *streams.values()], allow_unused=True, materialize_grads=True
        )
    gradient = dict(zip(streams, by_site, strict=True))
    _check_finite(readout, batch, value.detach(), [slope, *by_site])
    nudged_slope = _slope_beside(readout, batch, logits)
    return [
        _TextGradient(
            value[i].detach().cpu(),
            {
                site: x.detach()[rows.start][columns[rows.start].to(x.device)].float()
                for site, x in streams.items()
            },
            {site: _sum_rows(of_site, columns, rows) for site, of_site in gradient.items()},
            float(slope[rows].abs().sum()),
            float(nudged_slope[rows].abs().sum()),
        )
        for i, rows in enumerate(_row_ranges(batch))
    ]


def _sum_rows(gradient: Tensor, columns: Sequence[Tensor], rows: slice) -> Tensor:
    """Gradient at the chosen tokens of one text, summed over its rows."""
    of_rows = [gradient[row][columns[row].to(gradient.device)] for row in range(rows.start, rows.stop)]
    return torch.stack([of_row.float() for of_row in of_rows]).sum(0)


def _slope_beside(readout: Readout, batch: Sequence[Question], logits: Tensor) -> Tensor:
    """d metric / d logits at logits that are a little off, in a fixed random direction."""
    at_run = logits.detach().float()
    noise = torch.randn(at_run.shape[1:], generator=torch.Generator().manual_seed(0)).to(at_run.device)
    with torch.enable_grad():
        beside = (at_run + NUDGE * at_run.std() * noise).requires_grad_()
        value = read(readout, batch, _tails(beside, batch))
        (slope,) = torch.autograd.grad(value.sum(), beside, allow_unused=True, materialize_grads=True)
        return slope


def _refuse_stationary(readout: Readout, parts: Sequence[_TextGradient], tolerance: float) -> None:
    slope, nudged = sum(part.slope for part in parts), sum(part.nudged_slope for part in parts)
    # a nudge tells a stationary metric, whose slope grows with the distance, from one with a small scale
    if slope <= tolerance * nudged or slope == 0:
        raise _flat_error(
            readout, f"is stationary at this run (slope {slope:.2g}, a nudge away {nudged:.2g})"
        )


def _flat_error(readout: Readout, how: str) -> DataError:
    return DataError(
        f"metric {readout.name!r} {how}: its gradient is zero, and with it every first-order effect",
        allowed="a metric with a slope where it is measured; a divergence from the very run it is measured "
        "on has none",
        do='take the other direction ("denoise" or "noise"), or another metric, such as logit_diff',
    )


def _check_finite(
    readout: Readout, batch: Sequence[Question], value: Tensor, slopes: Sequence[Tensor]
) -> None:
    bad, problem = ~torch.isfinite(value).cpu(), "is"
    if not bool(bad.any()):
        problem = "has a gradient that is"
        for slope in slopes:
            non_finite = (~torch.isfinite(slope)).flatten(1).any(1).cpu()
            bad |= torch.tensor([bool(non_finite[rows].any()) for rows in _row_ranges(batch)])
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise NonFiniteError(
            f"metric {readout.name!r} {problem} NaN or infinite for {batch[first].rows[0].name}"
            f" (value {float(value[first]):g})",
            do="leave that text out, or check what the metric reads there",
        )


def _row_ranges(batch: Sequence[Question]) -> list[slice]:
    """Which rows of a pass belong to each question."""
    ends = torch.tensor([0, *(question.n_rows for question in batch)]).cumsum(0).tolist()
    return [slice(start, stop) for start, stop in pairwise(ends)]


def _tails(logits: Tensor, batch: Sequence[Question]) -> list[list[Tensor]]:
    return [list(logits[rows]) for rows in _row_ranges(batch)]
