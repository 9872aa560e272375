"""What next-token prediction loses where the stream at a coder's site is its reconstruction, or zero."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.coders import Sinks, SparseCoder, reconstruct
from reasonmech.errors import DataError
from reasonmech.hosts.hookpoint import HiddenEdit
from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import of_this_thread
from reasonmech.runtime.batched.prefix import Prefix
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.served import last_unread

_LOGITS: Final = 2**26  # numbers in memory at once: 256 MB in float32

Edits = dict[str, HiddenEdit]


def cross_entropies(
    host: Host,
    coder: SparseCoder,
    texts: Sequence[Sequence[int]],
    sinks: Sinks,
    *,
    batch_size: int,
    progress: bool,
) -> dict[str, float]:
    """ "clean", "spliced" and "zero" -> mean next-token cross-entropy in nats, over every token but the first
    of each text.

    The blocks below the site are run once for all three, and so many texts at once that their logits fit.

    Raises:
        DataError: setting the site to zero changes nothing.
    """
    edits: Edits = {"spliced": partial(reconstruct, coder), "zero": torch.zeros_like}
    sums, n = dict.fromkeys(("clean", *edits), 0.0), sum(len(ids) - 1 for ids in texts)
    batches = list(_batches(texts, batch_size, host.vocab_size))
    for batch in tqdm(batches, desc="cross-entropy", disable=not progress):
        for name, loss in _losses(host, coder, batch, sinks, edits).items():
            sums[name] += loss
    ce = {name: total / n for name, total in sums.items()}
    if ce["zero"] == ce["clean"]:
        raise DataError(f"setting {coder.site} to zero changes no prediction", do="check a site that matters")
    return ce


def _batches(texts: Sequence[Sequence[int]], most: int, vocab: int) -> Iterator[list[Sequence[int]]]:
    """Texts of like length, at most so many, whose logits fit together; the longest first."""
    ordered, start = sorted(texts, key=len, reverse=True), 0
    while start < len(ordered):
        size = min(most, max(1, _LOGITS // (len(ordered[start]) * vocab)))
        yield ordered[start : start + size]
        start += size


@torch.no_grad()
def _losses(
    host: Host, coder: SparseCoder, texts: Sequence[Sequence[int]], sinks: Sinks, edits: Edits
) -> dict[str, float]:
    """Cross-entropy summed over the tokens of a batch: clean, and under each edit."""
    below, width = last_unread(coder.site), len(texts[0])
    rows = [PassRow(tuple(ids), len(ids), f"text {number}") for number, ids in enumerate(texts)]
    prefix = Prefix(host, rows, range(len(rows)), [below], last_logits=width)
    sums = {"clean": _loss(prefix.logits, texts)}
    del prefix.logits  # the largest thing there is, and read
    for name, edit in edits.items():
        positions = prefix.step.positions.to(host.device)
        with attached(host, coder, sparing(sinks, edit, positions)):
            logits = prefix.run(torch.arange(len(rows)), below=below, start=0, last_logits=width)
        sums[name] = _loss(logits, texts)
        del logits
    return sums


def _loss(logits: Float[Tensor, "row pos vocab"], texts: Sequence[Sequence[int]]) -> float:
    """Summed over texts, which stand at the right end of their rows."""
    return sum(
        torch.nn.functional.cross_entropy(
            of_row[-len(ids) : -1].float(), torch.tensor(ids[1:], device=logits.device), reduction="sum"
        ).item()
        for of_row, ids in zip(logits, texts, strict=True)
    )


def sparing(sinks: Sinks, edit: HiddenEdit, positions: Int[Tensor, "row pos"] | None = None) -> HiddenEdit:
    """The same edit, which leaves sinks as they are.

    Args:
        positions: of every column; None: passes over whole texts begin at column 0.
    """
    if not sinks.n_sinks:
        return edit

    def edit_others(x: Tensor) -> Tensor | None:
        new = edit(x)
        if new is None:
            return None
        at = torch.arange(x.shape[1], device=x.device) if positions is None else positions.to(x.device)
        return torch.where(sinks.mask(x.float().norm(dim=-1), at)[..., None], x, new)

    return edit_others


@contextmanager
def attached(host: Host, coder: SparseCoder, edit: HiddenEdit) -> Iterator[None]:
    """Inside the block the edit acts on the stream at a coder's site, in passes of this thread."""
    handle = host.hook_point(coder.site).attach(of_this_thread(edit))
    try:
        yield
    finally:
        handle.remove()
