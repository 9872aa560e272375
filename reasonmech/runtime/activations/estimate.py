"""estimate_capture: the disk and the time that a capture will take, before it is begun."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from tqdm.auto import tqdm

from reasonmech.disk import format_bytes, format_cost, free_bytes
from reasonmech.door import checked
from reasonmech.runtime.activations.read_sites import CaptureJob, read_sites
from reasonmech.runtime.activations.texts import CaptureTexts, Piece, Survey

INDEX_BYTES: Final = (
    4  # of the index on disk per token, compressed: 1.1 on chain texts, more where the vocabulary is large
)
PROBE: Final = 2  # passes that are timed, after one that is not


@checked
@final
@dataclass(frozen=True)
class CaptureEstimate:
    """What a capture takes.

    Attributes:
        n_texts, n_tokens: texts, and tokens that the model runs over.
        n_kept: tokens whose activations are kept.
        n_bytes: of activations and index together.
        free_bytes: of the disk; None in memory.
        seconds: at the speed of some of the texts; None where it was not measured.
    """

    n_texts: int
    n_tokens: int
    n_kept: int
    n_bytes: int
    free_bytes: int | None
    seconds: float | None

    def __str__(self) -> str:
        free = "" if self.free_bytes is None else f" ({format_bytes(self.free_bytes)} free)"
        cost = format_cost(self.n_bytes, self.seconds)
        return f"{self.n_kept:,} of {self.n_tokens:,} tokens of {self.n_texts:,} texts: {cost}{free}"


def estimate(job: CaptureJob, survey: Survey, *, out: Path | None, seconds: float | None) -> CaptureEstimate:
    """Put numbers together."""
    n_kept = int(survey.kept.sum())
    return CaptureEstimate(
        n_texts=len(survey.lengths),
        n_tokens=int(survey.lengths.sum()),
        n_kept=n_kept,
        n_bytes=n_kept * (job.row_bytes() + INDEX_BYTES),
        free_bytes=None if out is None else free_bytes(out),
        seconds=seconds,
    )


def timed(job: CaptureJob, texts: CaptureTexts, survey: Survey) -> float:
    """Seconds of the whole, from a batch of texts spread evenly over it: run once to warm up, then timed."""
    step = max(1, len(texts) // job.batch_size)
    pieces = [texts.piece(i, i + 1) for i in range(0, len(texts), step)][: job.batch_size]
    batch = Piece([p.texts[0] for p in pieces], [p.kept[0] for p in pieces])
    with tqdm(disable=True) as bar:
        read_sites(job, batch, bar)
        start = time.perf_counter()
        for _ in range(PROBE):
            read_sites(job, batch, bar)
        took = (time.perf_counter() - start) / PROBE
    return took * int(survey.lengths.sum()) / sum(len(text.ids) for text in batch.texts)


def shown_before(job: CaptureJob, texts: CaptureTexts, survey: Survey, *, out: Path) -> CaptureEstimate:
    """The estimate that a capture shows: timed where that is a small part of it."""
    worth = len(texts) >= 20 * (PROBE + 1) * job.batch_size
    return estimate(job, survey, out=out, seconds=timed(job, texts, survey) if worth else None)
