"""A store on disk: shards and index parts, each with its checksum, and a record that makes them readable."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from reasonmech.errors import CorruptFileError, NonFiniteError, OutputError
from reasonmech.paths import new_directory, partial_of, write_text
from reasonmech.runtime.activations.origin import Origin
from reasonmech.runtime.activations.shards import Entry, FileShard, Shard, Stamp, activations_file, index_file
from reasonmech.site import Site

if TYPE_CHECKING:
    import pandas as pd

RECORD_FILE: Final = "record.json"
FORMAT: Final = 2
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Contents(NamedTuple):
    """What a store holds: its sites, whose they are, its shards, and the hash of all of it."""

    sites: tuple[Site, ...]
    origin: Origin
    shards: tuple[Shard, ...]
    content_hash: str


def write_shard(directory: Path, number: int, values: Mapping[str, Tensor], index: pd.DataFrame) -> Entry:
    """Write one shard's two files; each appears in one rename, the index last."""
    activations, part = activations_file(directory, number), index_file(directory, number)
    part.parent.mkdir(exist_ok=True)
    unfinished = partial_of(activations)
    save_file({name: tensor.contiguous() for name, tensor in values.items()}, unfinished)
    stamp = Stamp.of(unfinished)
    unfinished.rename(activations)
    unfinished = partial_of(part)
    index.to_parquet(unfinished, index=False)
    entry = Entry(len(index), stamp, Stamp.of(unfinished))
    unfinished.rename(part)
    return entry


def write_record(
    directory: Path,
    sites: Sequence[Site],
    origin: Origin,
    entries: Sequence[Entry],
    *,
    plan: Mapping[str, Any],
) -> None:
    """Write what makes a store readable, and its content hash."""
    record = {
        "format": FORMAT,
        "sites": [str(site) for site in sites],
        "origin": origin.to_json(),
        "plan": dict(plan),
        "shards": [entry._asdict() for entry in entries],
    }
    write_text(
        directory / RECORD_FILE, json.dumps(record | {"content_hash": hash_of(record)}, indent=1) + "\n"
    )


def hash_of(value: Mapping[str, Any]) -> str:
    """SHA-256 of JSON values in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def load_store(path: Path) -> Contents:
    """Read a store's record, and see that its files are there in full length; their content is verified when
    read.

    Raises:
        OutputError: nothing complete is there. CorruptFileError: it is damaged, or of another format.
    """
    if not path.is_dir():
        partial = partial_of(path)
        state = "is partial: its capture did not finish" if partial.exists() else "does not exist"
        raise OutputError(f"{path} {state}", do="capture again with the same out=; finished shards are kept")
    try:
        record = json.loads((path / RECORD_FILE).read_text())
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}, this version reads {FORMAT}")
        content_hash = record.pop("content_hash")
        if hash_of(record) != content_hash:
            raise ValueError("its record is not the one that was written")
        sites, origin = (
            tuple(Site.parse(name) for name in record["sites"]),
            Origin.from_json(record["origin"]),
        )
        shards = tuple(FileShard(path, i, Entry.from_json(entry)) for i, entry in enumerate(record["shards"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{path} is no activation store: {error}", do="capture again") from error
    for shard in shards:
        shard.check_sizes()
    return Contents(sites, origin, shards, content_hash)


def save_store(path: Path, sites: Sequence[Site], origin: Origin, shards: Sequence[Shard]) -> None:
    """Write shards that exist already into a new store.

    Raises:
        OutputError: the path exists, cannot be written, or the disk is full. NonFiniteError: NaN or infinity.
    """
    sizes = [sum(tensor.nbytes for tensor in shard.values().values()) for shard in shards]
    with new_directory(path) as partial:
        entries = []
        for number, shard in enumerate(shards):
            for name, tensor in shard.values().items():
                if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                    raise NonFiniteError(
                        f"activations of {name} hold NaN or infinity", do="capture them again"
                    )
            with told_when_full(partial, number, len(shards), missing=sum(sizes[number:]), resumes=False):
                entries.append(write_shard(partial, number, shard.values(), shard.table().to_pandas()))
        with told_when_full(partial, len(shards), len(shards), missing=0, resumes=False):
            write_record(partial, sites, origin, entries, plan={})


@contextmanager
def told_when_full(
    partial: Path, done: int, total: int, *, missing: int, resumes: bool = True
) -> Iterator[None]:
    """Turn a failed write into an error that says what is there and how much is missing.

    Args:
        resumes: whether the next call goes on with what is written; else it begins anew.

    Raises:
        OutputError: the disk is full, or cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not is_full(error):
            raise OutputError(
                f"cannot write {partial}: {error}", do="choose a directory you can write"
            ) from error
        free, valid = shutil.disk_usage(partial).free, " and stay valid" if resumes else ""
        raise OutputError(
            f"the disk is full: {done} of {total} shards are written to {partial}{valid}; "
            f"{in_bytes(missing)} are missing, {in_bytes(free)} are free",
            do="make room and call again with the same arguments: "
            + ("it goes on where it stopped" if resumes else "what is written is removed first"),
        ) from error


def is_full(error: BaseException) -> bool:
    """Whether a write failed because there is no room (safetensors tells so in its message only)."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return any(f"os error {number})" in str(error) for number in FULL)


def in_bytes(n: float) -> str:
    """ "2.56 GB", in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"
