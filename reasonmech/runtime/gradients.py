"""Gradients: what sites held at chosen tokens, and how a metric changes with it, from one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.runtime.memory import halving
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import step_of
from reasonmech.runtime.readout import Question, Readout, questions, read
from reasonmech.site import Site

Streams: TypeAlias = Mapping[Site, Float[Tensor, "token width"]]

NUDGE: Final = 0.1  # standard deviations of the logits by which stationarity is tried
STATIONARY: Final = 1e-3  # gradient at the point, as a share of the gradient at a nudge from it


class _Enough(Exception):
    """Raised by the last site's hook: nothing above it needs to run."""


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
class _Part:
    """What one text gave: value, steepness, and per site stream and gradient [position, width]."""

    value: Tensor
    stream: dict[Site, Tensor]
    gradient: dict[Site, Tensor]
    steep: tuple[float, float]  # |d metric / d logits| here, and at a nudge from here


def read_streams(
    host: Host,
    texts: Sequence[PassRow],
    at: Sequence[Sequence[int]],
    sites: Sequence[Site],
    *,
    batch_rows: int = 64,
) -> Streams:
    """What some sites hold at some positions of every text, texts end to end, float32, on their device.

    Args:
        at: absolute positions of every text.
    """
    order = _by_length(texts)
    found: dict[int, dict[Site, Tensor]] = {}

    def run(rows: Sequence[int]) -> list[dict[Site, Tensor]]:
        step = step_of(host, [texts[row] for row in rows], rows)
        seen: dict[Site, Tensor] = {}

        def keep(site: Site, x: Tensor) -> None:
            seen[site] = x
            if len(seen) == len(sites):
                raise _Enough

        with torch.no_grad(), suppress(_Enough), _attached(host, sites, keep):
            _logits(host, step.ids, step.mask, step.positions, keep=1)
        return [
            {site: x[i, _columns(step.mask[i], at[row]).to(x.device)].float() for site, x in seen.items()}
            for i, row in enumerate(rows)
        ]

    for start in range(0, len(order), batch_rows):
        rows = order[start : start + batch_rows]
        found |= zip(rows, halving(rows, run, what="text")[0], strict=True)
    return {site: torch.cat([found[row][site] for row in range(len(texts))]) for site in sites}


def gradients(
    host: Host,
    texts: Sequence[PassRow],
    at: Sequence[Sequence[int]],
    sites: Sequence[Site],
    readout: Readout,
    *,
    moved: Streams | None = None,
    batch_rows: int = 64,
) -> Gradients:
    """Gradient of a metric with respect to what sites hold at some positions, all in one backward pass.

    A continuation of several tokens is a row of its own, in which the text's tokens hold the same stream: the
    gradient is summed over the rows of a text. Blocks below the first site build no graph.

    Args:
        at: absolute positions of every text.
        moved: put this in place of what a site holds at these tokens (texts laid end to end).

    Raises:
        DataError: the metric does not depend on the logits, or is stationary in them: no first order.
        NonFiniteError: the metric or its gradient is NaN or infinite; the text is named.
    """
    asked = questions(host, texts, readout)
    ends = torch.tensor([0, *(len(positions) for positions in at)]).cumsum(0).tolist()
    put = {
        number: {site: x[ends[number] : ends[number + 1]] for site, x in (moved or {}).items()}
        for number in range(len(texts))
    }
    found: dict[int, _Part] = {}

    def run(some: Sequence[Question]) -> list[_Part]:
        return _backward(host, some, at, sites, readout, put)

    for batch in _batches(asked, batch_rows):
        parts, _ = halving(batch, run, what="text")
        found |= {question.number: part for question, part in zip(batch, parts, strict=True)}
    ordered = [found[number] for number in range(len(texts))]
    _refuse_stationary(readout, ordered, max(STATIONARY, 20 * torch.finfo(host.dtype).eps))
    return Gradients(
        torch.stack([part.value for part in ordered]),
        {site: torch.cat([part.stream[site] for part in ordered]) for site in sites},
        {site: torch.cat([part.gradient[site] for part in ordered]) for site in sites},
    )


def _backward(
    host: Host,
    asked: Sequence[Question],
    at: Sequence[Sequence[int]],
    sites: Sequence[Site],
    readout: Readout,
    put: Mapping[int, Mapping[Site, Tensor]],
) -> list[_Part]:
    rows = [row for question in asked for row in question.rows]
    owner = [question.number for question in asked for _ in question.rows]
    step = step_of(host, rows, owner)
    columns = [_columns(mask, at[number]) for mask, number in zip(step.mask, owner, strict=True)]
    seen: dict[Site, Tensor] = {}

    def keep(site: Site, x: Tensor) -> Tensor:
        new = x.clone() if any(site in put[number] for number in owner) else x
        for row, (number, own) in enumerate(zip(owner, columns, strict=True)):
            if site in put[number]:
                new[row, own.to(x.device)] = put[number][site].to(x)
        torch.set_grad_enabled(True)  # from the first site on; no_grad below switches it off again
        seen[site] = new.view_as(new) if seen else new.detach().requires_grad_()
        return seen[site]

    tail = max(question.tail(i) for question in asked for i in range(question.n_rows))
    with torch.no_grad():
        with _attached(host, sites, keep):
            logits = _logits(host, step.ids, step.mask, step.positions, keep=tail)
        with torch.enable_grad():
            value = read(readout, asked, _tails(logits, asked))
            if not value.requires_grad:
                raise _flat(readout, "does not depend on what the model says")
            found = torch.autograd.grad(
                value.sum(), [logits, *(seen[site] for site in sites)], allow_unused=True
            )
    slope = _known(found[0], logits)
    gradient = {site: _known(g, seen[site]) for site, g in zip(sites, found[1:], strict=True)}
    _check_finite(readout, asked, value.detach(), [slope, *gradient.values()])
    nudged = _slope_beside(readout, asked, logits)
    return [
        _Part(
            value[i].detach().cpu(),
            {s: seen[s].detach()[first][columns[first].to(seen[s].device)].float() for s in sites},
            {site: _summed(gradient[site], columns, own) for site in sites},
            (float(slope[own].abs().sum()), float(nudged[own].abs().sum())),
        )
        for i, own in enumerate(_row_ranges(asked))
        for first in (own.start,)
    ]


def _summed(gradient: Tensor, columns: Sequence[Tensor], rows: slice) -> Tensor:
    """Gradient at the chosen tokens of one text, summed over its rows."""
    own = range(rows.start, rows.stop)
    return torch.stack([gradient[row][columns[row].to(gradient.device)].float() for row in own]).sum(0)


def _known(gradient: Tensor | None, of: Tensor) -> Tensor:
    """A gradient, 0 where the metric does not reach."""
    return torch.zeros_like(of) if gradient is None else gradient


def _slope_beside(readout: Readout, asked: Sequence[Question], logits: Tensor) -> Tensor:
    """d metric / d logits at logits that are a little off, in a fixed random direction."""
    flat = logits.detach().float()
    noise = torch.randn(flat.shape[1:], generator=torch.Generator().manual_seed(0)).to(flat.device)
    with torch.enable_grad():
        beside = (flat + NUDGE * flat.std() * noise).requires_grad_()
        value = read(readout, asked, _tails(beside, asked))
        return _known(torch.autograd.grad(value.sum(), beside, allow_unused=True)[0], beside)


def _refuse_stationary(readout: Readout, parts: Sequence[_Part], tolerance: float) -> None:
    here, beside = (sum(part.steep[i] for part in parts) for i in (0, 1))
    if here <= tolerance * beside or here == 0:
        raise _flat(readout, f"is stationary at this run (slope {here:.2g}, a nudge away {beside:.2g})")


def _flat(readout: Readout, how: str) -> DataError:
    return DataError(
        f"metric {readout.name!r} {how}: its gradient is zero, and with it every first-order effect",
        allowed="a metric with a slope where it is measured; a divergence from the very run it is measured "
        "on has none",
        do='take the other direction ("denoise" or "noise"), or another metric, such as logit_diff',
    )


def _check_finite(
    readout: Readout, asked: Sequence[Question], value: Tensor, slopes: Sequence[Tensor]
) -> None:
    bad, what = ~torch.isfinite(value).cpu(), "is"
    if not bool(bad.any()):
        what = "has a gradient that is"
        for slope in slopes:
            rows = (~torch.isfinite(slope)).flatten(1).any(1).cpu()
            bad |= torch.tensor([bool(rows[own].any()) for own in _row_ranges(asked)])
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise NonFiniteError(
            f"metric {readout.name!r} {what} NaN or infinite for {asked[first].rows[0].name}"
            f" (value {float(value[first]):g})",
            do="leave that text out, or check what the metric reads there",
        )


def _row_ranges(asked: Sequence[Question]) -> list[slice]:
    ends = torch.tensor([0, *(question.n_rows for question in asked)]).cumsum(0).tolist()
    return [slice(start, stop) for start, stop in pairwise(ends)]


def _tails(logits: Tensor, asked: Sequence[Question]) -> list[list[Tensor]]:
    return [list(logits[own]) for own in _row_ranges(asked)]


def _columns(mask: Tensor, positions: Sequence[int]) -> Int[Tensor, " position"]:
    """Columns of a left-padded row at which absolute positions stand."""
    return torch.tensor(positions, dtype=torch.long) + int((~mask).sum())


def _by_length(texts: Sequence[PassRow]) -> list[int]:
    return sorted(range(len(texts)), key=lambda row: len(texts[row].ids))


def _batches(asked: Sequence[Question], batch_rows: int) -> Iterator[list[Question]]:
    batch: list[Question] = []
    for question in sorted(asked, key=lambda question: len(question.rows[0].ids)):
        if batch and sum(other.n_rows for other in batch) + question.n_rows > batch_rows:
            yield batch
            batch = []
        batch.append(question)
    if batch:
        yield batch


@contextmanager
def _attached(
    host: Host, sites: Sequence[Site], see: Callable[[Site, Tensor], Tensor | None]
) -> Iterator[None]:
    handles = []
    try:
        for site in sorted(sites, key=lambda site: site.depth):
            handles.append(host.hook_point(site).attach(lambda x, site=site: see(site, x)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _logits(host: Host, ids: Tensor, mask: Tensor, positions: Tensor, *, keep: int) -> Tensor:
    return host.model(
        input_ids=ids.to(host.device),
        attention_mask=mask.long().to(host.device),
        position_ids=positions.clamp_min(0).to(host.device),
        use_cache=False,
        logits_to_keep=keep,
    ).logits
