"""capture: run a host over texts and keep what some sites held, in memory or in a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tqdm.auto import tqdm

from reasonmech.arguments import as_sequence, check_type
from reasonmech.coders import check_belongs
from reasonmech.door import checked
from reasonmech.errors import DataError, MismatchError
from reasonmech.hosts.host import Host
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture_to_store import capture_to_store
from reasonmech.runtime.activations.estimate import CaptureEstimate, estimate, timed
from reasonmech.runtime.activations.keep import ALL, DTYPES, Keep
from reasonmech.runtime.activations.origin import Origin
from reasonmech.runtime.activations.read_sites import CaptureJob, read_sites
from reasonmech.runtime.activations.shards import MemoryShard
from reasonmech.runtime.activations.texts import CaptureTexts, check_any, check_columns
from reasonmech.site import Site

TEXTS: Final = "rollouts or texts, in a list"
SITES: Final = 'names of sites, such as "resid_post.2"'


@checked
def capture(
    host: Host,
    rollouts: Sequence[Rollout | str] | Rollout | str,
    sites: Sequence[Site | str] | Site | str,
    *,
    out: str | Path | None = None,
    keep: Keep = ALL,
    progress: bool = True,
) -> Activations:
    """Activations of tokens (every one, prompt included, unless `keep` says otherwise) at some sites.

    Rows of like length share a batch; padding is on the right, where a causal model never looks, so every
    value is what the row alone would give (up to the rounding of another matrix shape). Layers above the last
    site do not run.

    Args:
        rollouts: texts, or one. A rollout is read in the very tokens that it holds; one that a sibling with
            another encoding wrote is `as_read_by(host, rollouts)`, prompts in this host's. A store asks
            for each of them twice and holds none, so they may be read from a disk.
        sites: where, or one site.
        out: directory of a store; memory then holds one shard of it at a time, and a killed capture goes on
            where it stopped when it is called again. The disk and the time it takes are shown before it
            begins. None: in memory.
        keep: which tokens, in which form and dtype, with which columns of the index; how many texts a pass.

    Raises:
        ArgumentError: something of another type.
        UnknownNameError: the host has no such site, or nobody gives a label that `keep` names; what there is
            is listed.
        NonFiniteError: NaN or infinity; site, problem and position are named.
        DataError: no text, a text without tokens or with one that the model does not have, no site, or no
            token to keep.
        MismatchError: features are to be kept of another model's coder, or of another site than its own.
        OutputError: `out` exists, cannot be written, holds part of another capture, or the disk is full.
    """
    job, texts = _job(host, rollouts, sites, keep)
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


@checked
def estimate_capture(
    host: Host,
    rollouts: Sequence[Rollout | str] | Rollout | str,
    sites: Sequence[Site | str] | Site | str,
    *,
    out: str | Path | None = None,
    keep: Keep = ALL,
) -> CaptureEstimate:
    """Tokens, bytes and seconds of the capture with these arguments; three batches of it are run to time it.

    Raises:
        As `capture`.
    """
    job, texts = _job(host, rollouts, sites, keep)
    survey = texts.survey(progress=False)
    path = None if out is None else Path(out).expanduser()
    return estimate(job, survey, out=path, seconds=timed(job, texts, survey))


def _job(
    host: Host,
    rollouts: Sequence[Rollout | str] | Rollout | str,
    sites: Sequence[Site | str] | Site | str,
    keep: Keep,
) -> tuple[CaptureJob, CaptureTexts]:
    a_call = "rm.capture(host, rollouts, sites, keep=rm.Keep(...))"
    check_type(host, Host, name="host", allowed="a Host, such as rm.load_pair(...).base", do=a_call)
    check_type(keep, Keep, name="keep", allowed="rm.Keep(where=, codes=, dtype=, ...)", do=a_call)
    texts = [rollouts] if isinstance(rollouts, str | Rollout) else rollouts
    # elements are looked at when they are read: there may be millions, on a disk
    check_type(texts, Sequence, name="rollouts", allowed=TEXTS, do=a_call)
    names = as_sequence(sites, (str, Site), name="sites", allowed=SITES)
    at = tuple(dict.fromkeys(host.check_site(site) for site in names))
    if not at:
        raise DataError("no site to capture", do="name at least one, such as resid_post.2")
    dtype = keep.dtype or host.dtype
    if dtype not in DTYPES:
        raise DataError(
            f"dtype={dtype}", allowed=", ".join(map(str, DTYPES)), do="choose one of them: Keep(dtype=)"
        )
    if keep.codes is not None:
        check_belongs(keep.codes.coder, host)
        if at != (keep.codes.coder.site,):
            raise MismatchError(
                f"features of a coder of {keep.codes.coder.site} at {', '.join(map(str, at))}",
                allowed=f"its own site: sites=[{str(keep.codes.coder.site)!r}]",
            )
    return CaptureJob(host, at, keep.codes, keep.batch_size, dtype), CaptureTexts(host, texts, keep)
