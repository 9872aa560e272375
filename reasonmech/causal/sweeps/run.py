"""Carrying out a sweep: blocks of cells in a fixed order, finished ones read back, an estimate before it
starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, final

from tqdm.auto import tqdm

from reasonmech.causal.sweeps.identity import Plan
from reasonmech.causal.sweeps.store import SweepStore, open_store, sweep_directory
from reasonmech.causal.sweeps.table import SweepTable
from reasonmech.disk import check_room, format_bytes
from reasonmech.hosts.host import Host
from reasonmech.resumable import check_plan

if TYPE_CHECKING:
    import pandas as pd


class SweepEstimate(NamedTuple):
    """What a sweep will take, measured on a few of its cells.

    Attributes:
        n_cells: configurations times what they are tried on, the clean run included.
        n_done: of them, finished by an earlier run.
        seconds: that the rest will take; None where it is too little to be worth measuring.
        n_bytes: that its tables will take on the disk.
    """

    n_cells: int
    n_done: int
    seconds: float | None
    n_bytes: int

    def __str__(self) -> str:
        done = f", {self.n_done:,} of them done" if self.n_done else ""
        lasting = "a few batches" if self.seconds is None else f"about {_duration(self.seconds)}"
        return f"sweep of {self.n_cells:,} cells{done}: {lasting}, about {format_bytes(self.n_bytes)} of disk"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Key(NamedTuple):
    """One cell: which configuration (None: the clean run) on which unit, by their numbers."""

    configuration: int | None
    unit: int
    cell: str


Block = tuple[Key, ...]


@final
@dataclass(frozen=True, eq=False)
class Job:
    """A sweep that is ready to run.

    Attributes:
        plan: everything that its numbers depend on.
        blocks: all cells, in an order that depends on nothing but the plan; each becomes one shard.
        compute: values of one block, and the directory for what it writes besides: a frame with the columns
            cell, configuration, value, n_masked, n_fired, and those that say what a cell was tried on.
        tidy: all cells -> the table.
        seconds: how long some blocks will take; None where they are few.
        n_bytes: on the disk, while it runs.
    """

    host: Host
    plan: Plan
    blocks: Sequence[Block]
    compute: Callable[[Block, Path | None], pd.DataFrame]
    tidy: Callable[[pd.DataFrame], pd.DataFrame]
    seconds: Callable[[Sequence[Block]], float | None]
    n_bytes: Callable[[], int]

    @property
    def n_cells(self) -> int:
        return sum(len(block) for block in self.blocks)


def carry_out(job: Job, *, out: str | Path | None, progress: bool) -> SweepTable:
    """Run a job, or what is missing of it, and return its table.

    Raises:
        OutputError: `out` holds another sweep, cannot be written, or the disk is too small.
    """
    started = _now()
    if out is None:
        return SweepTable(_run(job, None, progress=progress), _record(job, started))
    path = Path(out).expanduser()
    if path.exists():
        check_plan(path, job.plan, kind="sweep")
        return SweepTable.load(path)
    with open_store(path, job.plan) as store:
        check_room(store.directory.partial, job.n_bytes(), do="choose another disk, or make room")
        table = _run(job, store, progress=progress)
        store.complete(table, _record(job, started))
    return SweepTable.load(path)


def estimate(job: Job, *, out: str | Path | None) -> SweepEstimate:
    """What is left to do of a job, and what it will take."""
    store = None if out is None else SweepStore(sweep_directory(Path(out).expanduser(), job.plan))
    if store is not None and store.directory.out.exists():
        return SweepEstimate(job.n_cells, job.n_cells, 0.0, job.n_bytes())
    left = [block for i, block in enumerate(job.blocks) if store is None or not store.shard_path(i).exists()]
    n_left = sum(len(block) for block in left)
    return SweepEstimate(job.n_cells, job.n_cells - n_left, job.seconds(left) if left else 0.0, job.n_bytes())


def _run(job: Job, store: SweepStore | None, *, progress: bool) -> pd.DataFrame:
    import pandas as pd

    expected = estimate(job, out=None if store is None else store.directory.out) if progress else None
    if expected is not None:
        tqdm.write(str(expected))
    shards = []
    done = 0 if expected is None else expected.n_done
    with tqdm(
        total=job.n_cells, initial=done, desc="sweep", unit="cell", delay=1.0, disable=not progress
    ) as bar:
        for number, block in enumerate(job.blocks):
            shard = None if store is None else store.read(number, [key.cell for key in block])
            if shard is None:
                shard = job.compute(block, None if store is None else store.directory.partial)
                if store is not None:
                    store.write(number, shard)
                bar.update(len(block))
            shards.append(shard)
    return job.tidy(pd.concat(shards, ignore_index=True))


def _record(job: Job, started: str) -> dict[str, object]:
    return {
        "host_name": job.host.name,
        "host_hash": job.host.weight_hash,
        "dtype": str(job.host.dtype),
        "device": str(job.host.device),
        "versions": job.plan["versions"],
        "started": started,
        "finished": _now(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def blocks_of(keys: Iterator[Key], size: int) -> list[Block]:
    """Consecutive cells, `size` at a time."""
    every = list(keys)
    return [tuple(every[i : i + size]) for i in range(0, len(every), size)]
