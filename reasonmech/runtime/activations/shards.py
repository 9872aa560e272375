"""Shards: consecutive pieces of activations with their index, in memory or in files verified when read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, final

from jaxtyping import Shaped
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from reasonmech.digest import hash_file
from reasonmech.errors import CorruptFileError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow


class Shard(Protocol):
    """Some consecutive tokens of a capture."""

    @property
    def n_tokens(self) -> int: ...

    def values(self) -> Mapping[str, Shaped[Tensor, "token ..."]]:
        """Every tensor, by name; those of a file are mapped, not read, into memory."""
        ...

    def part(self, name: str, start: int, stop: int) -> Shaped[Tensor, "n ..."]:
        """Rows [start, stop) of one tensor; of a file, nothing stays mapped."""
        ...

    def table(self, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """The index, or some columns of it. None: all."""
        ...


@final
@dataclass(frozen=True, eq=False)
class MemoryShard:
    """Tensors by name, and one row of `index` for each of their rows."""

    tensors: Mapping[str, Tensor]
    index: pd.DataFrame

    @property
    def n_tokens(self) -> int:
        return len(self.index)

    def values(self) -> Mapping[str, Tensor]:
        return self.tensors

    def part(self, name: str, start: int, stop: int) -> Tensor:
        return self.tensors[name][start:stop]

    def table(self, columns: Sequence[str] | None = None) -> pyarrow.Table:
        import pyarrow

        return pyarrow.Table.from_pandas(self.index if columns is None else self.index[list(columns)])


class Stamp(NamedTuple):
    """What a file was when it was written."""

    n_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Read a file and stamp it."""
        return cls(path.stat().st_size, hash_file(path))

    def check_size(self, path: Path) -> None:
        """Raise CorruptFileError where the file is missing or has another length; its content is not read."""
        n_bytes = path.stat().st_size if path.is_file() else 0
        if n_bytes != self.n_bytes:
            raise CorruptFileError(
                f"{path} has {n_bytes} of {self.n_bytes} bytes", do="capture again, or copy it again"
            )

    def check(self, path: Path) -> None:
        """Raise CorruptFileError where the file is not what was written."""
        self.check_size(path)
        if (sha256 := self.of(path).sha256) != self.sha256:
            raise CorruptFileError(
                f"{path} is damaged: its SHA-256 is {sha256[:12]}..., {self.sha256[:12]}... was written",
                do="capture again, or copy it again",
            )


class ShardEntry(NamedTuple):
    """What a store's record says of one shard."""

    n_tokens: int
    activations: Stamp
    index: Stamp

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> ShardEntry:
        """Raises KeyError, TypeError or ValueError where it is none."""
        n_tokens, activations, index = value["n_tokens"], value["activations"], value["index"]
        if not (isinstance(n_tokens, int) and isinstance(activations, list) and isinstance(index, list)):
            raise TypeError("no shard entry")
        stamps = [Stamp(*stamp) for stamp in (activations, index)]
        if not all(type(stamp.n_bytes) is int and isinstance(stamp.sha256, str) for stamp in stamps):
            raise TypeError("no stamp of a file")
        return cls(n_tokens, *stamps)


@final
@dataclass(frozen=True, eq=False)
class FileShard:
    """One safetensors file and one parquet file of a store, each verified when it is first read."""

    directory: Path
    number: int
    entry: ShardEntry

    @property
    def n_tokens(self) -> int:
        return self.entry.n_tokens

    def values(self) -> Mapping[str, Tensor]:
        return self._values

    def part(self, name: str, start: int, stop: int) -> Tensor:
        with safe_open(self._activations, framework="pt") as file:
            return file.get_slice(name)[start:stop].clone()

    def table(self, columns: Sequence[str] | None = None) -> pyarrow.Table:
        from pyarrow import parquet

        with parquet.ParquetFile(self._index) as file:
            return file.read(columns=None if columns is None else list(columns), use_threads=False)

    def check_sizes(self) -> None:
        """Raise CorruptFileError where a file is missing or cut off; cheap, whatever their size."""
        self.entry.activations.check_size(activations_file(self.directory, self.number))
        self.entry.index.check_size(index_file(self.directory, self.number))

    def verify(self) -> None:
        """Read both files to the end. Raises CorruptFileError where one is not what was written."""
        self.entry.activations.check(activations_file(self.directory, self.number))
        self.entry.index.check(index_file(self.directory, self.number))

    @cached_property
    def _activations(self) -> Path:
        """The file, once it is known to be what was written."""
        path = activations_file(self.directory, self.number)
        self.entry.activations.check(path)
        return path

    @cached_property
    def _index(self) -> Path:
        path = index_file(self.directory, self.number)
        self.entry.index.check(path)
        return path

    @cached_property
    def _values(self) -> Mapping[str, Tensor]:
        return load_file(self._activations)


def activations_file(directory: Path, number: int) -> Path:
    """Where a store keeps the activations of a shard."""
    return directory / f"acts-{number:05d}.safetensors"


def index_file(directory: Path, number: int) -> Path:
    """Where a store keeps its index: `pandas.read_parquet(store / "index")` reads all of it."""
    return directory / "index" / f"{number:05d}.parquet"
