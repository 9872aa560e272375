"""Activations: what some sites of a host held at every token of some texts, in memory or in a store on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from reasonmech.errors import CorruptFileError, DataError, OutputError, UnknownNameError
from reasonmech.labels import Labels
from reasonmech.paths import check_safetensors, new_directory, partial_of
from reasonmech.site import Site

if TYPE_CHECKING:
    import pandas as pd

INDEX_FILE: Final = "index.parquet"
RECORD_FILE: Final = "record.json"
INDEX_PIECE: Final = 2**18  # tokens of the index that are converted at once


def shard_file(number: int) -> str:
    """Name of one file of a store."""
    return f"acts-{number:05d}.safetensors"


@final
@dataclass(frozen=True, eq=False)
class Activations:
    """One row per token; the rows of a rollout are consecutive and start at position 0.

    Attributes:
        sites: what was captured.
        index: [token] rollout, problem, position (absolute, prompt included), token (its id), generated,
            by_environment.
        host_name, host_hash: which model, and its `weight_hash`.
        shards: consecutive pieces, site name -> [token, d_model]; those of a store are mapped, not read, into memory.
    """

    sites: tuple[Site, ...]
    index: pd.DataFrame
    host_name: str
    host_hash: str
    shards: tuple[Mapping[str, Tensor], ...]

    @property
    def n_tokens(self) -> int:
        return len(self.index)

    def __len__(self) -> int:
        return self.n_tokens

    def at(self, site: Site | str) -> Float[Tensor, "token d_model"]:
        """Activations of every token, on the CPU. Raises UnknownNameError, listing the captured sites."""
        name = str(self._check(site))
        parts = [shard[name] for shard in self.shards]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def take(self, site: Site | str, tokens: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]:
        """Activations of some tokens (rows of `index`), in their order, without reading the others."""
        name = str(self._check(site))
        if len(self.shards) == 1:
            return self.shards[0][name][tokens]
        which = torch.bucketize(tokens, self._ends, right=True)
        first = self.shards[0][name]
        out = torch.empty(len(tokens), first.shape[1], dtype=first.dtype)
        for number in which.unique().tolist():
            chosen = which == number
            start = int(self._ends[number - 1]) if number else 0
            out[chosen] = self.shards[number][name][tokens[chosen] - start]
        return out

    def rows(self, site: Site | str, labels: Labels) -> Float[Tensor, "label d_model"]:
        """Activations at the labelled positions, one row per label.

        Raises:
            DataError: a label points at a rollout or a position that was not captured.
        """
        rollout, position = torch.as_tensor(labels.rollout), torch.as_tensor(labels.position)
        starts, lengths = self._rollouts
        known = (rollout >= 0) & (rollout < len(starts))
        length = lengths[rollout.clamp(0, len(starts) - 1)]
        missing = ~known | (position < 0) | (position >= length)
        if bool(missing.any()):
            i = int(missing.nonzero()[0])
            where = f"position {int(position[i])} of rollout {int(rollout[i])}"
            raise DataError(
                f"label {i} of {labels.behaviour!r} points at {where}, which was not captured",
                allowed=f"rollouts 0 .. {len(starts) - 1}, positions below each one's length",
                do="capture the rollouts that the labels were made from, in the same order",
            )
        return self.take(site, starts[rollout] + position)

    def save(self, path: str | Path) -> None:
        """Write a new directory of safetensors and parquet, which appears when it is complete.

        Raises:
            OutputError: it exists, or cannot be written.
        """
        with new_directory(path) as partial:
            for number, shard in enumerate(self.shards):
                save_file({name: tensor.contiguous() for name, tensor in shard.items()}, partial / shard_file(number))
            write_tables(partial, self.index, record_of(self))

    @classmethod
    def load(cls, path: str | Path) -> Activations:
        """Read what `save`, or `capture(out=)`, wrote; activations stay on disk until they are asked for.

        Raises:
            OutputError: nothing complete is there. CorruptFileError: a file is missing, truncated or damaged.
        """
        path = Path(path).expanduser()
        if not path.is_dir():
            partial = partial_of(path)
            state = "is partial: its capture did not finish" if partial.exists() else "does not exist"
            raise OutputError(f"{path} {state}", do="capture again with the same out=; finished shards are kept")
        try:
            record = json.loads((path / RECORD_FILE).read_text())
            index = _read_index(path / INDEX_FILE)
            sites, counts = tuple(Site.parse(name) for name in record["sites"]), record["tokens"]
        except (OSError, ValueError, KeyError) as error:
            raise CorruptFileError(f"{path} is no activation store: {error}", do="capture again") from error
        shards = []
        for number, count in enumerate(counts):
            check_safetensors(path / shard_file(number))
            shard = load_file(path / shard_file(number))
            if set(shard) != {str(site) for site in sites} or any(len(t) != count for t in shard.values()):
                raise CorruptFileError(f"{path / shard_file(number)} is not the shard recorded", do="capture again")
            shards.append(shard)
        if sum(counts) != len(index):
            raise CorruptFileError(f"{path} has {sum(counts)} activations for {len(index)} tokens", do="capture again")
        return cls(sites, index, record["host_name"], record["host_hash"], tuple(shards))

    def _check(self, site: Site | str) -> Site:
        parsed = Site.parse(site)
        if parsed not in self.sites:
            raise UnknownNameError("captured site", str(site), map(str, self.sites))
        return parsed

    @cached_property
    def _ends(self) -> Int[Tensor, " shard"]:
        name = str(self.sites[0])
        return torch.tensor([len(shard[name]) for shard in self.shards]).cumsum(0)

    @cached_property
    def _rollouts(self) -> tuple[Int[Tensor, " rollout"], Int[Tensor, " rollout"]]:
        """First row and length of every rollout."""
        lengths = torch.bincount(torch.as_tensor(self.index["rollout"].to_numpy(copy=True)).long())
        return lengths.cumsum(0) - lengths, lengths

    def __repr__(self) -> str:
        return f"Activations({self.n_tokens} tokens of {self.host_name!r} at {', '.join(map(str, self.sites))})"


def record_of(acts: Activations) -> dict[str, Any]:
    """The JSON that makes a store readable."""
    name = str(acts.sites[0])
    return {
        "sites": [str(site) for site in acts.sites],
        "host_name": acts.host_name,
        "host_hash": acts.host_hash,
        "tokens": [len(shard[name]) for shard in acts.shards],
    }


def _read_index(file: Path) -> pd.DataFrame:
    """As pandas reads it, a column at a time: never the whole table twice in memory."""
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(file) as table:
        return table.read(use_threads=False).to_pandas(split_blocks=True, self_destruct=True)


def write_tables(directory: Path, index: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """Write index and record of a store; the index in pieces, so that it is never in memory twice."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = pyarrow.Schema.from_pandas(index.iloc[:1], preserve_index=False)
    with ParquetWriter(directory / INDEX_FILE, schema) as writer:
        for start in range(0, len(index), INDEX_PIECE):
            piece = index.iloc[start : start + INDEX_PIECE]
            writer.write_table(pyarrow.Table.from_pandas(piece, schema=schema, preserve_index=False))
    (directory / RECORD_FILE).write_text(json.dumps(dict(record), indent=1) + "\n")
