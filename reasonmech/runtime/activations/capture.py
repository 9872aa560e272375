"""capture: run a host over texts and keep what some sites held, in memory or in a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from tqdm.auto import tqdm

from reasonmech.coders import check_belongs
from reasonmech.errors import DataError, MismatchError
from reasonmech.hosts.host import Host
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture_to_store import capture_to_store
from reasonmech.runtime.activations.estimate import Estimate, estimate, timed
from reasonmech.runtime.activations.keep import ALL, Keep
from reasonmech.runtime.activations.origin import Origin
from reasonmech.runtime.activations.read_sites import CaptureJob, read_sites
from reasonmech.runtime.activations.shards import MemoryShard
from reasonmech.runtime.activations.texts import CaptureTexts, check_any, check_columns
from reasonmech.site import Site

DTYPES: Final = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def capture(
    host: Host,
    rollouts: Sequence[Rollout | str],
    sites: Sequence[Site | str],
    *,
    out: str | Path | None = None,
    keep: Keep = ALL,
    batch_size: int = 64,
    dtype: torch.dtype | None = None,
    progress: bool = True,
) -> Activations:
    """Activations of tokens (every one, prompt included, unless `keep` says otherwise) at some sites.

    Rows of like length share a batch; padding is on the right, where a causal model never looks, so every
    value is what the row alone would give (up to the rounding of another matrix shape). Layers above the last
    site do not run.

    Args:
        rollouts: texts; a store asks for each of them twice and keeps none, so they may be read from a disk.
        out: directory of a store; memory then holds one shard of it at a time, and a killed capture goes on
            where it stopped when it is called again. The disk and the time it takes are shown before it
            begins. None: in memory.
        keep: which tokens, in which form, with which columns of the index.
        batch_size: texts per pass; halved, with a warning, where memory is short.
        dtype: dtype kept: float64, float32, bfloat16 or float16. None: the model's.

    Raises:
        UnknownNameError: the host has no such site, or nobody gives a label that `keep` names; what there is
            is listed.
        NonFiniteError: NaN or infinity; site, problem and position are named.
        DataError: no text, a text without tokens or with one that the model does not have, no site, no token
            to keep, a batch size below 1, or another dtype.
        MismatchError: features are to be kept of another model's coder, or of another site than its own.
        OutputError: `out` exists, cannot be written, holds part of another capture, or the disk is full.
    """
    job, texts = _job(host, rollouts, sites, keep=keep, batch_size=batch_size, dtype=dtype)
    if out is not None:
        return Activations.load(capture_to_store(job, texts, keep, out=out, progress=progress))
    piece, names = texts.piece(0, len(texts)), None
    for text in piece.texts:
        names = check_columns(text, names)
    check_any(sum(int(marks.sum()) for marks in piece.kept), keep)
    total = sum(len(text.ids) for text in piece.texts)
    with tqdm(total=total, desc="capture", unit="token", disable=not progress) as bar:
        values, index = read_sites(job, piece, bar)
    return Activations(job.sites, Origin.of(host, job.codes), (MemoryShard(values, index),))


def estimate_capture(
    host: Host,
    rollouts: Sequence[Rollout | str],
    sites: Sequence[Site | str],
    *,
    out: str | Path | None = None,
    keep: Keep = ALL,
    batch_size: int = 64,
    dtype: torch.dtype | None = None,
) -> Estimate:
    """Tokens, bytes and seconds of the capture with these arguments; three batches of it are run to time it.

    Raises:
        As `capture`.
    """
    job, texts = _job(host, rollouts, sites, keep=keep, batch_size=batch_size, dtype=dtype)
    survey = texts.survey(progress=False)
    path = None if out is None else Path(out).expanduser()
    return estimate(job, survey, out=path, seconds=timed(job, texts, survey))


def _job(
    host: Host,
    rollouts: Sequence[Rollout | str],
    sites: Sequence[Site | str],
    *,
    keep: Keep,
    batch_size: int,
    dtype: torch.dtype | None,
) -> tuple[CaptureJob, CaptureTexts]:
    if isinstance(sites, str | Site):
        raise DataError(
            f"sites={str(sites)!r} is one site", allowed="a list of sites", do=f'write ["{sites}"]'
        )
    at = tuple(dict.fromkeys(host.check_site(site) for site in sites))
    if not at:
        raise DataError("no site to capture", do="name at least one, such as resid_post.2")
    if batch_size < 1:
        raise DataError(f"batch_size={batch_size}", allowed="1 or more texts per pass")
    kept_as = dtype or host.dtype
    if kept_as not in DTYPES:
        raise DataError(
            f"dtype={kept_as}", allowed=", ".join(map(str, DTYPES)), do="choose one of them: dtype="
        )
    if keep.codes is not None:
        check_belongs(keep.codes.coder, host)
        if at != (keep.codes.coder.site,):
            raise MismatchError(
                f"features of a coder of {keep.codes.coder.site} at {', '.join(map(str, at))}",
                allowed=f"its own site: sites=[{str(keep.codes.coder.site)!r}]",
            )
    return CaptureJob(host, at, keep.codes, batch_size, kept_as), CaptureTexts(host, rollouts, keep)
