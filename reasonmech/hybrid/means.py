"""Differences of means: what the base's stream looks like before a sentence of each category begins."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hosts.turn import of_this_thread
from reasonmech.hybrid.disagreements import TextBatch
from reasonmech.hybrid.executors import Vectors
from reasonmech.kinds import Kinds, sentence_starts, with_ends
from reasonmech.rollout import Rollout
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.site import Site


@torch.no_grad()
def mean_differences(
    host: Host, site: Site | str, rollouts: Sequence[Rollout], kinds: Kinds, *, batch_size: int = 16
) -> Vectors:
    """Per category: mean stream at the token before a sentence of it begins, minus that before all others.

    No token is predicted, and nothing is trained: what a base's own activations say of a category in texts
    that somebody wrote. A category that never begins has no vector.

    Args:
        rollouts: texts that the host reads, such as the thinking model's.

    Raises:
        DataError: no category begins beside another one.
    """
    at, n = host.check_site(site), len(kinds.names)
    sums, counts = torch.zeros(n, host.width(at), dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    texts = as_read_by(host, rollouts)
    for first in range(0, len(texts), batch_size):
        part = texts[first : first + batch_size]
        stream = _read(host, at, TextBatch.of(host, part))
        for row, rollout in enumerate(part):
            of_text = with_ends(kinds, rollout.ids[-1:] if rollout.stop == "eos" else ())
            category = of_text.label(torch.tensor(rollout.ids))
            (starts,) = sentence_starts(of_text, [rollout.ids])
            chosen: Bool[Tensor, " pos"] = starts & ~torch.tensor(rollout.by_environment)
            offsets = chosen.nonzero()[:, 0]
            before = len(rollout.prompt_ids) - 1 + offsets
            sums.index_add_(0, category[offsets], stream[row, before].double().cpu())
            counts.index_add_(0, category[offsets], torch.ones(len(offsets), dtype=torch.float64))
    others = counts.sum() - counts
    begins = (counts > 0) & (others > 0)
    if not begins.any():
        raise DataError(
            f"sentences of {int((counts > 0).sum())} categories begin in {len(texts)} texts",
            allowed="2 categories or more: a mean is taken from that of the others",
            do="use more rollouts",
        )
    means: Float[Tensor, "category d_model"] = sums / counts.clamp_min(1)[:, None]
    rest = (sums.sum(0) - sums) / others.clamp_min(1)[:, None]
    table = torch.where(begins[:, None], means - rest, 0.0).float()
    return Vectors(host, at, table=table, trained=begins)


def _read(host: Host, site: Site, texts: TextBatch) -> Float[Tensor, "batch pos d_model"]:
    """The stream at every token of texts."""
    streams: list[Tensor] = []
    handle = host.hook_point(site).attach(of_this_thread(streams.append))
    try:
        texts.run(host, None)
    finally:
        handle.remove()
    return streams[0]
