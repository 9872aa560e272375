"""A store on disk: shards and index parts, each with its checksum, and a record that makes them readable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from reasonmech.digest import PARTS
from reasonmech.disk import explain_failed_writes, format_bytes
from reasonmech.errors import CorruptFileError, NonFiniteError, OutputError
from reasonmech.files import atomic_write, new_directory, partial_of, remove_leftovers, write_text
from reasonmech.json_text import check_shape, parse_json
from reasonmech.resumable import RECORD_FILE
from reasonmech.runtime.activations.origin import Origin
from reasonmech.runtime.activations.shards import (
    FileShard,
    Shard,
    ShardEntry,
    Stamp,
    activations_file,
    index_file,
)
from reasonmech.site import Site

if TYPE_CHECKING:
    import pandas as pd

FORMAT: Final = 2
_STAMP: Final = [(int, str)]
RECORD_SHAPE: Final = {
    "format": int,
    "sites": [str],
    "origin": {
        "host_name": str,
        "host_hash": str,
        "vocabulary_hash": str,
        "codes_of": (dict, type(None)),
        "bos_id?": (int, type(None)),
        "identity?": (dict.fromkeys(PARTS, str), type(None)),
    },
    "shards": [{"n_tokens": int, "activations": _STAMP, "index": _STAMP}],
    "content_hash": str,
}


class StoreContents(NamedTuple):
    """What a store holds: its sites, whose they are, its shards, and the hash of all of it."""

    sites: tuple[Site, ...]
    origin: Origin
    shards: tuple[Shard, ...]
    content_hash: str


def write_shard(
    directory: Path, number: int, values: Mapping[str, Tensor], index: pd.DataFrame
) -> ShardEntry:
    """Write one shard's two files; each appears in one rename, the index last."""
    with atomic_write(activations_file(directory, number)) as unfinished:
        save_file({name: tensor.contiguous() for name, tensor in values.items()}, unfinished)
        of_values = Stamp.of(unfinished)
    with atomic_write(index_file(directory, number)) as unfinished:
        index.to_parquet(unfinished, index=False)
        of_index = Stamp.of(unfinished)
    return ShardEntry(len(index), of_values, of_index)


def record_of(
    sites: Sequence[Site], origin: Origin, entries: Sequence[ShardEntry], *, plan: Mapping[str, Any]
) -> dict[str, Any]:
    """What makes a store readable, with its content hash: the content of `record.json`."""
    record = {
        "format": FORMAT,
        "sites": [str(site) for site in sites],
        "origin": origin.to_json(),
        "plan": dict(plan),
        "shards": [entry._asdict() for entry in entries],
    }
    return record | {"content_hash": hash_of(record)}


def hash_of(value: Mapping[str, Any]) -> str:
    """SHA-256 of JSON values in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def load_store(path: Path) -> StoreContents:
    """Read a store's record, and see that its files are there in full length; their content is verified when
    read.

    Raises:
        OutputError: nothing complete is there. CorruptFileError: it is damaged, or of another format.
    """
    if not path.is_dir():
        partial = partial_of(path)
        state = "is partial: its capture did not finish" if partial.exists() else "does not exist"
        raise OutputError(f"{path} {state}", do="capture again with the same out=; finished shards are kept")
    remove_leftovers(path)
    try:
        record = parse_json((path / RECORD_FILE).read_bytes())
        check_shape(record, RECORD_SHAPE)
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}, this version reads {FORMAT}")
        content_hash = record.pop("content_hash")
        if hash_of(record) != content_hash:
            raise ValueError("its record is not the one that was written")
        sites = tuple(Site.parse(name) for name in record["sites"])
        origin = Origin.from_json(record["origin"])
        shards = tuple(
            FileShard(path, i, ShardEntry.from_json(entry)) for i, entry in enumerate(record["shards"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{path} is no activation store: {error}", do="capture again") from error
    for shard in shards:
        shard.check_sizes()
    return StoreContents(sites, origin, shards, content_hash)


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
            with _explain(partial, number, len(shards), missing=sum(sizes[number:])):
                entries.append(write_shard(partial, number, shard.values(), shard.table().to_pandas()))
        with _explain(partial, len(shards), len(shards), missing=0):
            record = record_of(sites, origin, entries, plan={})
            write_text(partial / RECORD_FILE, json.dumps(record, indent=1) + "\n")


def _explain(partial: Path, done: int, total: int, *, missing: int) -> AbstractContextManager[None]:
    return explain_failed_writes(
        partial,
        full=f"the disk is full: {done} of {total} shards are written; {format_bytes(missing)} are missing",
        do="make room and call again with the same arguments: what is written is removed first",
    )
