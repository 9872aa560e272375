"""Writing a store: shard by shard into `<out>.partial`, resumably, and renamed when the last one is there."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tqdm.auto import tqdm

from reasonmech.errors import CorruptFileError, OutputError
from reasonmech.paths import (
    LOCK_FILE,
    begun,
    check_new,
    only_writer,
    partial_of,
    read_plan,
    write_plan,
    write_text,
)
from reasonmech.runtime.activations.collect import Job, collect
from reasonmech.runtime.activations.estimate import free_at, shown_before
from reasonmech.runtime.activations.files import in_bytes, told_when_full, write_record, write_shard
from reasonmech.runtime.activations.keep import Keep
from reasonmech.runtime.activations.origin import Origin
from reasonmech.runtime.activations.shards import Entry, FileShard
from reasonmech.runtime.activations.texts import Survey, Texts

SHARD_BYTES: Final = 2**28
PROGRESS: Final = "progress"  # one small file per finished shard, gone when the store is complete
MEANS: Final = {  # what a part of a plan says when it differs
    "host_hash": "another model",
    "vocabulary_hash": "another tokenizer",
    "sites": "other sites",
    "dtype": "another dtype",
    "where": "other tokens",
    "codes": "another form",
    "texts": "other texts, or other columns of them",
    "bounds": "shards of another size",
}


def to_store(job: Job, texts: Texts, keep: Keep, *, out: str | Path, progress: bool) -> Path:
    """Write every text's activations, those of an interrupted capture with the same plan excepted.

    Raises:
        OutputError: `out` exists, holds part of another capture, is being written by another process, or the
            disk is full. CorruptFileError: the plan of an interrupted capture is damaged. As `collect`
            otherwise.
    """
    out = check_new(out)
    partial = partial_of(out)
    survey = texts.survey(progress=progress)
    bounds = _bounds(survey, shard_tokens=keep.shard_tokens, most_kept=max(1, SHARD_BYTES // job.row_bytes()))
    plan = _plan(job, survey, keep, bounds)
    check_new(out)  # again: another process may have finished it meanwhile
    if not partial.exists():  # before there is a plan, which another choice of tokens would not go on with
        _check_room(partial, _missing(job, survey, 0))
    with told_when_full(out.parent, 0, len(bounds) - 1, missing=_missing(job, survey, 0)):
        partial.mkdir(exist_ok=True)
    with only_writer(partial):
        check_new(out)
        _begin(partial, plan, missing=_missing(job, survey, 0))
        entries = [*_shards(job, texts, survey, bounds, out=out, progress=progress)]
        with told_when_full(partial, len(entries), len(entries), missing=0):
            write_record(partial, job.sites, Origin.of(job.host, job.codes), entries, plan=plan)
        partial.rename(out)
        shutil.rmtree(out / PROGRESS)
        (out / LOCK_FILE).unlink()
    return out


def _shards(
    job: Job, texts: Texts, survey: Survey, bounds: Sequence[int], *, out: Path, progress: bool
) -> Iterator[Entry]:
    """Entries of all shards: those that are there are verified, the others computed."""
    partial, n_tokens = partial_of(out), int(survey.lengths.sum())
    numbers = tqdm(range(len(bounds) - 1), desc="verify finished shards", leave=False, disable=not progress)
    there = {number: entry for number in numbers if (entry := _finished(partial, number))}
    missing = _missing(job, survey, 0) - sum(e.activations.n_bytes + e.index.n_bytes for e in there.values())
    _check_room(partial, missing)
    if progress:
        tqdm.write(f"capture to {out}: {shown_before(job, texts, survey, out=out)}", file=sys.stderr)
    done = sum(int(survey.lengths[bounds[number] : bounds[number + 1]].sum()) for number in there)
    with tqdm(
        total=n_tokens, initial=done, desc="capture", unit="token", unit_scale=True, disable=not progress
    ) as bar:
        for number, (start, stop) in enumerate(pairwise(bounds)):
            if number in there:
                yield there[number]
                continue
            found = collect(job, texts.piece(start, stop), bar)
            with told_when_full(partial, number, len(bounds) - 1, missing=_missing(job, survey, start)):
                entry = write_shard(partial, number, found.values, found.index)
                write_text(_progress(partial, number), json.dumps(entry._asdict()))
            del found  # before the next one is collected
            yield entry


def _check_room(partial: Path, missing: int) -> None:
    if (free := free_at(partial)) < missing:
        raise OutputError(
            f"{in_bytes(missing)} are to be written to {partial} and {in_bytes(free)} are free: "
            f"{in_bytes(missing - free)} are missing",
            do="make room, keep fewer tokens (Keep(where=)) or features (Keep(codes=)), or a narrower dtype=",
        )


def _finished(partial: Path, number: int) -> Entry | None:
    """A shard that was written to the end and is still what was written; None where it is to be computed."""
    file = _progress(partial, number)
    if not file.is_file():
        return None
    try:
        entry = Entry.from_json(json.loads(file.read_text()))
        FileShard(partial, number, entry).verify()
    except (CorruptFileError, ValueError, KeyError, TypeError):
        return None
    return entry


def _progress(partial: Path, number: int) -> Path:
    return partial / PROGRESS / f"{number:05d}.json"


def _missing(job: Job, survey: Survey, start: int) -> int:
    """Bytes of activations of the texts from `start` on."""
    return int(survey.kept[start:].sum()) * job.row_bytes()


def _bounds(survey: Survey, *, shard_tokens: int, most_kept: int) -> Sequence[int]:
    """Where shards end: [shard + 1] numbers of texts, the first 0; no shard runs or keeps more, one text
    aside."""
    bounds, tokens, kept = [0], 0, 0
    for number, (length, own) in enumerate(zip(survey.lengths.tolist(), survey.kept.tolist(), strict=True)):
        if number > bounds[-1] and (tokens + length > shard_tokens or kept + own > most_kept):
            bounds.append(number)
            tokens = kept = 0
        tokens, kept = tokens + length, kept + own
    return [*bounds, len(survey.lengths)]


def _plan(job: Job, survey: Survey, keep: Keep, bounds: Sequence[int]) -> dict[str, Any]:
    origin = Origin.of(job.host, job.codes)
    return {
        "host_hash": origin.host_hash,
        "vocabulary_hash": origin.vocabulary_hash,
        "sites": [str(site) for site in job.sites],
        "dtype": str(job.dtype),
        "where": keep.where.to_json(),
        "codes": None if origin.codes_of is None else origin.codes_of._asdict(),
        "texts": survey.digest,
        "bounds": [*bounds],
    }


def _begin(partial: Path, plan: Mapping[str, Any], *, missing: int) -> None:
    """Open the partial store: a new one, or the same capture's, which a kill interrupted."""
    found = begun(partial, plan, beside={PROGRESS})
    if found == "same":
        (partial / PROGRESS).mkdir(exist_ok=True)
        return
    if found == "other":
        before = read_plan(partial) or {}
        differ = [meaning for key, meaning in MEANS.items() if before.get(key) != plan[key]]
        raise OutputError(
            f"{partial} holds part of another capture ({', '.join(differ)})",
            do="delete it, or choose another out=; nothing was changed",
        )
    with told_when_full(partial, 0, len(plan["bounds"]) - 1, missing=missing):
        (partial / PROGRESS).mkdir(exist_ok=True)
        write_plan(partial, plan)
