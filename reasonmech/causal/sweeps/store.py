"""The directory of a sweep: shards of finished cells, and the table that is made of them at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from reasonmech.causal.sweeps.identity import WORDS, Plan
from reasonmech.errors import CorruptFileError
from reasonmech.receipt import OLD_NAMES
from reasonmech.resumable import ResumableDirectory

if TYPE_CHECKING:
    import pandas as pd

SHARDS: Final = "shards"
OLD_COLUMNS: Final = OLD_NAMES | {"never_fired": "no_change"}
TABLE_FILE: Final = "table.parquet"


@final
class SweepStore:
    """Shards of a sweep, each a parquet file that appears in one rename.

    Attributes:
        directory: what holds them until the sweep is complete.
    """

    def __init__(self, directory: ResumableDirectory) -> None:
        self.directory = directory

    def shard_path(self, number: int) -> Path:
        return self.directory.path(_shard(number))

    def read(self, number: int, cells: Sequence[str]) -> pd.DataFrame | None:
        """A finished shard, or None where it is still to be computed.

        Raises:
            CorruptFileError: it is damaged, or holds other cells.
        """
        import pandas as pd
        import pyarrow

        path = self.shard_path(number)
        if not path.exists():
            return None
        try:
            shard = pd.read_parquet(path).rename(columns=OLD_COLUMNS)
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise CorruptFileError(
                f"{path} is damaged: {error}", do="delete it: it will be computed again"
            ) from error
        if "cell" not in shard or list(shard["cell"]) != list(cells):
            raise CorruptFileError(f"{path} holds other cells", do="delete it: it will be computed again")
        return shard

    def write(self, number: int, shard: pd.DataFrame) -> None:
        """Add a shard; it is on the disk when this returns. Raises OutputError where the disk is full."""
        with self.directory.piece(_shard(number)) as unfinished:
            shard.to_parquet(unfinished, index=False)

    def complete(self, table: pd.DataFrame, record: Mapping[str, Any]) -> Path:
        """Write the table, and give the directory its name. Raises OutputError where the disk is full."""
        with self.directory.piece(TABLE_FILE) as unfinished:
            table.to_parquet(unfinished, index=False)
        return self.directory.complete(record)


@contextmanager
def open_store(out: Path, plan: Plan) -> Iterator[SweepStore]:
    """Take the directory of a sweep for this process. Raises what `ResumableDirectory.open` raises."""
    directory = sweep_directory(out, plan)
    with directory.open():
        directory.path(SHARDS).mkdir(exist_ok=True)  # how many are in it says how far a partial sweep is
        yield SweepStore(directory)


def sweep_directory(out: Path, plan: Plan) -> ResumableDirectory:
    """Where a sweep is written, and what of it is gone when it is complete."""
    return ResumableDirectory(out, plan, kind="sweep", working=[SHARDS], words=WORDS)


def _shard(number: int) -> str:
    return f"{SHARDS}/{number:06d}.parquet"
