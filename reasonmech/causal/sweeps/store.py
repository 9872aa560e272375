"""The directory of a sweep: append-only shards of finished cells in `<out>.partial/`, renamed when all are
there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from reasonmech.causal.sweeps.identity import Plan, differences
from reasonmech.errors import CorruptFileError, OutputError
from reasonmech.paths import LOCK_FILE, PLAN_FILE, check_new, only_writer, partial_of, write_text

if TYPE_CHECKING:
    import pandas as pd

SHARDS: Final = "shards"
TABLE_FILE: Final = "table.parquet"
RECORD_FILE: Final = "record.json"


@final
class SweepStore:
    """Shards of a sweep, each a parquet file that appears in one rename; what a kill left unfinished nobody
    reads.

    Attributes:
        out: where the finished sweep will be.
        partial: where it is until then.
    """

    def __init__(self, out: Path, partial: Path) -> None:
        self.out, self.partial = out, partial

    def shard_path(self, number: int) -> Path:
        return self.partial / SHARDS / f"{number:06d}.parquet"

    def read(self, number: int, cells: Sequence[str]) -> pd.DataFrame | None:
        """A finished shard, or None where it is still to be computed.

        Raises:
            CorruptFileError: it is damaged, or holds other cells.
        """
        import pandas as pd

        path = self.shard_path(number)
        if not path.exists():
            return None
        try:
            shard = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise CorruptFileError(
                f"{path} is damaged: {error}", do="delete it: it will be computed again"
            ) from error
        if "cell" not in shard or list(shard["cell"]) != list(cells):
            raise CorruptFileError(f"{path} holds other cells", do="delete it: it will be computed again")
        return shard

    def write(self, number: int, shard: pd.DataFrame) -> None:
        """Add a shard; it is on the disk when this returns."""
        path = self.shard_path(number)
        unfinished = partial_of(path)
        shard.to_parquet(unfinished, index=False)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.rename(path)

    def complete(self, table: pd.DataFrame, record: dict[str, object]) -> Path:
        """Write the whole table and rename the directory; shards are working files and go last."""
        table.to_parquet(self.partial / TABLE_FILE, index=False)
        write_text(self.partial / RECORD_FILE, json.dumps(record, indent=1) + "\n")
        self.partial.rename(self.out)
        shutil.rmtree(self.out / SHARDS)
        (self.out / LOCK_FILE).unlink()
        return self.out


@contextmanager
def open_store(out: Path, plan: Plan) -> Iterator[SweepStore]:
    """Take the directory of a sweep for this process: a new one, or what an earlier process left of the same
    sweep.

    Raises:
        OutputError: it is part of another sweep (the differing keys are listed), another process is writing
            it, or it exists or cannot be written.
    """
    partial = partial_of(check_new(out))
    file = partial / PLAN_FILE
    if partial.exists() and not file.exists() and any(path.name != LOCK_FILE for path in partial.iterdir()):
        raise OutputError(f"{partial} is there and is no sweep", do="delete it, or choose another out=")
    partial.mkdir(exist_ok=True)
    with only_writer(partial):
        if file.exists():
            check_plan(file, plan)
        else:
            write_text(file, json.dumps(plan, indent=1) + "\n")
        (partial / SHARDS).mkdir(exist_ok=True)
        yield SweepStore(out, partial)


def check_plan(file: Path, plan: Plan) -> None:
    """Raise OutputError, listing the differing keys, unless a stored sweep is this one."""
    try:
        old = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{file.parent} holds no sweep: {error}", do="choose another out=; nothing was changed"
        ) from error
    if changed := differences(old, json.loads(json.dumps(plan))):
        raise OutputError(
            f"{file.parent} holds a sweep of another configuration: {changed}",
            do="go on with the old configuration, choose another out=, or delete it; nothing was changed",
        )
