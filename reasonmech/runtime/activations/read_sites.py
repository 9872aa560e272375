"""read_sites: run a host over texts and take what some sites hold; a pass stops at the last of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from reasonmech.errors import NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.hosts.turn import run_alone
from reasonmech.runtime.activations.keep import NO_FEATURE, TopCodes
from reasonmech.runtime.activations.texts import Piece, index_of, padded
from reasonmech.runtime.like_lengths import like_lengths
from reasonmech.runtime.memory import Needs, halving
from reasonmech.runtime.pass_bytes import pass_bytes
from reasonmech.runtime.streams import read_until_last
from reasonmech.site import Site

if TYPE_CHECKING:
    import pandas as pd

FEATURES: Final = ".features"  # added to a site's name: which features
VALUES: Final = ".values"  # and their activations


class CaptureJob(NamedTuple):
    """How activations are read: of which host, where, in which form."""

    host: Host
    sites: tuple[Site, ...]
    codes: TopCodes | None
    batch_size: int
    dtype: torch.dtype

    def row_bytes(self) -> int:
        """Bytes of activations per kept token."""
        if self.codes is not None:
            return self.codes.k * (self.dtype.itemsize + torch.int32.itemsize)
        return self.dtype.itemsize * sum(self.host.width(site) for site in self.sites)

    def empty(self, n: int) -> dict[str, Tensor]:
        """Room for so many tokens."""
        if self.codes is None:
            return {str(site): torch.empty(n, self.host.width(site), dtype=self.dtype) for site in self.sites}
        (site,), k = self.sites, self.codes.k
        features = torch.full((n, k), NO_FEATURE, dtype=torch.int32)
        return {f"{site}{FEATURES}": features, f"{site}{VALUES}": torch.zeros(n, k, dtype=self.dtype)}


class SiteValues(NamedTuple):
    """Activations of a piece's kept tokens in their order: tensor name -> [token, ...], and their index."""

    values: dict[str, Tensor]
    index: pd.DataFrame


def read_sites(job: CaptureJob, piece: Piece, bar: tqdm[Any]) -> SiteValues:
    """Read the piece in batches of like length, padded on the right, where a causal model never looks.

    Raises:
        NonFiniteError: NaN or infinity at a kept token. MemoryError: one text alone does not fit.
    """
    texts, kept = piece
    counts = np.array([int(marks.sum()) for marks in kept])
    starts = np.cumsum(counts) - counts
    out, index = job.empty(int(counts.sum())), index_of(piece)
    n_active = torch.zeros(len(index), dtype=torch.int32)
    # Longest first: little of a batch is padding, and what does not fit into memory shows at once.
    read = [i for i in range(len(texts)) if counts[i]]
    batches = like_lengths([len(texts[i].ids) for i in read], job.batch_size, longest_first=True)
    with torch.no_grad():

        def read_batch(numbers: Sequence[int]) -> Sequence[int]:
            rows = [texts[i].ids for i in numbers]
            ids, _ = padded(rows)
            marks = torch.zeros(ids.shape, dtype=torch.bool)
            for row, i in enumerate(numbers):
                marks[row, : len(kept[i])] = torch.from_numpy(kept[i])
            target = torch.from_numpy(
                np.concatenate([np.arange(starts[i], starts[i] + counts[i]) for i in numbers])
            )
            where = marks.to(job.host.device)
            ids = ids.to(job.host.device)
            with read_until_last(job.host, job.sites) as streams:
                seen = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                run_alone(job.host, lambda: job.host.model(**seen, use_cache=False))
            for site, hidden in streams.items():
                values = hidden[where.to(hidden.device)]
                if job.codes is not None:
                    _check_finite(values, site, [texts[i].problem for i in numbers], marks)
                    features, values, n_active[target] = job.codes.of(values)
                    out[f"{site}{FEATURES}"][target] = features
                values = values.to("cpu", job.dtype)
                # after the cast too: what is finite in float32 may be infinite in float16
                _check_finite(values, site, [texts[i].problem for i in numbers], marks)
                out[str(site) if job.codes is None else f"{site}{VALUES}"][target] = values
            bar.update(sum(map(len, rows)))
            return numbers

        needs = Needs(
            lambda numbers: pass_bytes(job.host, len(numbers), len(texts[numbers[0]].ids), logits=0),
            job.host.device,
            do="read shorter texts, or a model in a narrower dtype",
        )
        for batch in batches:
            halving([read[i] for i in batch], read_batch, what="text", needs=needs)
    bar.update(sum(len(texts[i].ids) for i in range(len(texts)) if not counts[i]))
    return SiteValues(out, index if job.codes is None else index.assign(n_active=n_active.numpy()))


def _check_finite(values: Tensor, site: Site, problems: Sequence[str], marks: Tensor) -> None:
    if bool(torch.isfinite(values).all()):
        return
    first = int((~torch.isfinite(values)).any(-1).nonzero()[0])
    row, position = marks.nonzero()[first].tolist()
    raise NonFiniteError(
        f"activations of {site} hold NaN or infinity in problem {problems[row]!r} at position {position}",
        do="run the model in float32 or bfloat16, or keep the activations in a wider dtype",
    )
