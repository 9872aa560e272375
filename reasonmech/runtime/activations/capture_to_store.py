"""Capture into a store: shard by shard, so that a kill costs one shard, and resumed where it stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tqdm.auto import tqdm

from reasonmech.disk import check_room, explain_failed_writes, format_bytes
from reasonmech.errors import CorruptFileError
from reasonmech.files import check_new, write_text
from reasonmech.json_text import parse_json
from reasonmech.printable import printable
from reasonmech.resumable import ResumableDirectory
from reasonmech.runtime.activations.estimate import shown_before
from reasonmech.runtime.activations.keep import Keep
from reasonmech.runtime.activations.origin import Origin
from reasonmech.runtime.activations.read_sites import CaptureJob, read_sites
from reasonmech.runtime.activations.shards import FileShard, ShardEntry
from reasonmech.runtime.activations.store import record_of, write_shard
from reasonmech.runtime.activations.texts import CaptureTexts, Survey

SHARD_BYTES: Final = 2**28
PROGRESS: Final = "progress"  # one small file per finished shard, gone when the store is complete
WORDS: Final = {  # what a part of a plan says when it differs
    "host_hash": "another model",
    "vocabulary_hash": "another tokenizer",
    "identity": "another configuration, tokenizer or set of ends of text",
    "sites": "other sites",
    "dtype": "another dtype",
    "where": "other tokens",
    "codes": "another form",
    "texts": "other texts, or other columns of them",
    "bounds": "shards of another size",
}


def capture_to_store(
    job: CaptureJob, texts: CaptureTexts, keep: Keep, *, out: str | Path, progress: bool
) -> Path:
    """Write every text's activations, those of an interrupted capture with the same plan excepted.

    Raises:
        OutputError: `out` exists, holds part of another capture, is being written by another process, or the
            disk is full. CorruptFileError: the plan of an interrupted capture is damaged. As `read_sites`
            otherwise.
    """
    out = check_new(out)
    survey = texts.survey(progress=progress)
    most_kept = max(1, SHARD_BYTES // job.row_bytes())
    bounds = _bounds(survey, shard_tokens=keep.shard_tokens, most_kept=most_kept)
    plan = _plan(job, survey, keep, bounds)
    directory = ResumableDirectory(out, plan, kind="capture", working=[PROGRESS], words=WORDS)
    check_new(out)  # again: another process may have finished it meanwhile
    if not directory.partial.exists():  # before there is a plan, which another choice of tokens does not have
        _check_room(directory.partial, _missing(job, survey, 0))
    with directory.open():
        directory.path(PROGRESS).mkdir(exist_ok=True)
        entries = [*_shards(job, texts, survey, bounds, directory=directory, progress=progress)]
        directory.complete(record_of(job.sites, Origin.of(job.host, job.codes), entries, plan=plan))
    return out


def _shards(
    job: CaptureJob,
    texts: CaptureTexts,
    survey: Survey,
    bounds: Sequence[int],
    *,
    directory: ResumableDirectory,
    progress: bool,
) -> Iterator[ShardEntry]:
    """Entries of all shards: finished ones are verified, the others computed."""
    partial, n_shards = directory.partial, len(bounds) - 1
    numbers = tqdm(range(n_shards), desc="verify finished shards", leave=False, disable=not progress)
    finished = {number: entry for number in numbers if (entry := _finished(partial, number))}
    on_disk = sum(entry.activations.n_bytes + entry.index.n_bytes for entry in finished.values())
    _check_room(partial, _missing(job, survey, 0) - on_disk)
    if progress:
        estimate = shown_before(job, texts, survey, out=directory.out)
        tqdm.write(printable(f"capture to {directory.out}: {estimate}"), file=sys.stderr)
    n_done = sum(int(survey.lengths[bounds[number] : bounds[number + 1]].sum()) for number in finished)
    with tqdm(
        total=int(survey.lengths.sum()),
        initial=n_done,
        desc="capture",
        unit="token",
        unit_scale=True,
        disable=not progress,
    ) as bar:
        for number, (start, stop) in enumerate(pairwise(bounds)):
            if number in finished:
                yield finished[number]
                continue
            values, index = read_sites(job, texts.piece(start, stop), bar)
            missing = format_bytes(_missing(job, survey, start))
            full = f"the disk is full: {number} of {n_shards} shards are written to {partial} and stay valid"
            with explain_failed_writes(partial, full=f"{full}; {missing} are missing"):
                entry = write_shard(partial, number, values, index)
                write_text(_progress(partial, number), json.dumps(entry._asdict()))
            del values, index  # one shard in memory, not two, while the next is read
            yield entry


def _check_room(partial: Path, n_bytes: int) -> None:
    fewer = "keep fewer tokens (Keep(where=)) or features (Keep(codes=)), or a narrower dtype="
    check_room(partial, n_bytes, do=f"make room, {fewer}")


def _finished(partial: Path, number: int) -> ShardEntry | None:
    """A shard that was written to the end and is still what was written; None where it is to be computed."""
    file = _progress(partial, number)
    if not file.is_file():
        return None
    try:
        entry = ShardEntry.from_json(parse_json(file.read_bytes()))
        FileShard(partial, number, entry).verify()
    except (CorruptFileError, ValueError, KeyError, TypeError):
        return None
    return entry


def _progress(partial: Path, number: int) -> Path:
    return partial / PROGRESS / f"{number:05d}.json"


def _missing(job: CaptureJob, survey: Survey, start: int) -> int:
    """Bytes of activations of the texts from `start` on."""
    return int(survey.kept[start:].sum()) * job.row_bytes()


def _bounds(survey: Survey, *, shard_tokens: int, most_kept: int) -> Sequence[int]:
    """Where shards end: [shard + 1] numbers of texts, the first 0. One long text may make a larger shard."""
    bounds, tokens, kept = [0], 0, 0
    for number, (length, n_kept) in enumerate(
        zip(survey.lengths.tolist(), survey.kept.tolist(), strict=True)
    ):
        if number > bounds[-1] and (tokens + length > shard_tokens or kept + n_kept > most_kept):
            bounds.append(number)
            tokens = kept = 0
        tokens, kept = tokens + length, kept + n_kept
    return [*bounds, len(survey.lengths)]


def _plan(job: CaptureJob, survey: Survey, keep: Keep, bounds: Sequence[int]) -> dict[str, Any]:
    origin = Origin.of(job.host, job.codes)
    return {
        "host_hash": origin.host_hash,
        "vocabulary_hash": origin.vocabulary_hash,
        "identity": origin.identity,
        "sites": [str(site) for site in job.sites],
        "dtype": str(job.dtype),
        "where": keep.where.to_json(),
        "codes": None if origin.codes_of is None else origin.codes_of._asdict(),
        "texts": survey.digest,
        "bounds": [*bounds],
    }
