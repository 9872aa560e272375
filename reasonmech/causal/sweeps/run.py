"""Carrying out a sweep: blocks of cells in a fixed order, finished ones read back, the cost told first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, final

from tqdm.auto import tqdm

from reasonmech.causal.sweeps.configurations import Configuration
from reasonmech.causal.sweeps.identity import Plan, in_order, plan_of
from reasonmech.causal.sweeps.store import SweepStore, open_store, sweep_directory
from reasonmech.causal.sweeps.table import SweepTable
from reasonmech.disk import check_room, format_bytes, format_cost, free_bytes
from reasonmech.door import checked
from reasonmech.files import remove_leftovers
from reasonmech.hosts.host import Host
from reasonmech.resumable import check_plan

if TYPE_CHECKING:
    import pandas as pd


@checked
@final
@dataclass(frozen=True)
class SweepEstimate:
    """What a sweep will take, measured on a few of its cells.

    Attributes:
        n_cells: configurations times what they are tried on, the clean run included.
        n_done: of them, finished by an earlier run.
        n_bytes: that its tables will take on the disk.
        free_bytes: of the disk; None in memory.
        seconds: that the rest will take; None where it is too little to be worth measuring.
    """

    n_cells: int
    n_done: int
    n_bytes: int
    free_bytes: int | None
    seconds: float | None

    def __str__(self) -> str:
        done = f", {self.n_done:,} of them done" if self.n_done else ""
        free = "" if self.free_bytes is None else f" ({format_bytes(self.free_bytes)} free)"
        cost = format_cost(self.n_bytes, self.seconds)
        return f"sweep of {self.n_cells:,} cells{done}: {cost} of disk{free}"


class CellKey(NamedTuple):
    """One cell: which configuration (None: the clean run) on which unit, by their numbers; and its hash."""

    configuration: int | None
    unit: int
    cell: str


Block: TypeAlias = tuple[CellKey, ...]


class Sweep(ABC):
    """A sweep that is ready to run: over texts, or over what is written.

    Attributes:
        ordered: the configurations in the order of their blocks, whatever order they were given in.
        plan: everything that its numbers depend on.
        blocks: all cells, in an order that depends on nothing but the plan; each block becomes one shard.
    """

    host: Host
    configurations: tuple[Configuration, ...]
    metric: object

    @cached_property
    def ordered(self) -> list[Configuration]:
        return in_order(self.configurations)

    @cached_property
    def plan(self) -> Plan:
        return plan_of(self.host, self.metric, self.configurations, self.settings())

    @cached_property
    def blocks(self) -> Sequence[Block]:
        return self.make_blocks()

    @abstractmethod
    def settings(self) -> Mapping[str, object]:
        """What its numbers depend on besides host, metric and configurations."""

    @abstractmethod
    def make_blocks(self) -> Sequence[Block]:
        """All cells, grouped by shard."""

    @abstractmethod
    def compute(self, block: Block, directory: Path | None) -> pd.DataFrame:
        """Values of one block: cell, configuration, what it was tried on, value, n_masked, n_gated.

        Args:
            directory: for what it writes besides. None: in memory.
        """

    @abstractmethod
    def tidy(self, cells: pd.DataFrame) -> pd.DataFrame:
        """All cells -> the table."""

    @abstractmethod
    def seconds(self, blocks: Sequence[Block]) -> float | None:
        """How long some blocks will take; None where they are few."""

    @abstractmethod
    def n_bytes(self) -> int:
        """On the disk, while it runs."""


def carry_out(sweep: Sweep, *, out: str | Path | None, progress: bool) -> SweepTable:
    """Run a sweep, or what is missing of it, and return its table.

    Raises:
        OutputError: `out` holds another sweep, cannot be written, or the disk is too small.
    """
    started = _now()
    if out is None:
        return SweepTable(_compute(sweep, None, progress=progress), _record(sweep, started))
    path = Path(out).expanduser()
    if path.exists():
        remove_leftovers(path)
        check_plan(path, sweep.plan, kind="sweep")
        return SweepTable.load(path)
    with open_store(path, sweep.plan) as store:
        check_room(store.directory.partial, sweep.n_bytes(), do="choose another disk, or make room")
        table = _compute(sweep, store, progress=progress)
        store.complete(table, _record(sweep, started))
    return SweepTable.load(path)


def estimate(sweep: Sweep, *, out: str | Path | None) -> SweepEstimate:
    """What is left to do of a sweep, and what it will take."""
    path = None if out is None else Path(out).expanduser()
    store = None if path is None else SweepStore(sweep_directory(path, sweep.plan))
    complete = path is not None and path.exists()
    unfinished = [
        block
        for number, block in enumerate(sweep.blocks)
        if not complete and (store is None or not store.shard_path(number).exists())
    ]
    n_cells, n_left = _n_cells(sweep.blocks), _n_cells(unfinished)
    return SweepEstimate(
        n_cells=n_cells,
        n_done=n_cells - n_left,
        n_bytes=sweep.n_bytes(),
        free_bytes=None if path is None else free_bytes(path),
        seconds=sweep.seconds(unfinished) if unfinished else 0.0,
    )


def _compute(sweep: Sweep, store: SweepStore | None, *, progress: bool) -> pd.DataFrame:
    import pandas as pd

    n_done = 0
    if progress:
        expected = estimate(sweep, out=None if store is None else store.directory.out)
        tqdm.write(str(expected))
        n_done = expected.n_done
    shards = []
    total = _n_cells(sweep.blocks)
    with tqdm(total=total, initial=n_done, desc="sweep", unit="cell", delay=1.0, disable=not progress) as bar:
        for number, block in enumerate(sweep.blocks):
            shard = None if store is None else store.read(number, [key.cell for key in block])
            if shard is None:
                shard = sweep.compute(block, None if store is None else store.directory.partial)
                if store is not None:
                    store.write(number, shard)
                bar.update(len(block))
            shards.append(shard)
    return sweep.tidy(pd.concat(shards, ignore_index=True))


def _record(sweep: Sweep, started: str) -> dict[str, object]:
    return {
        "host_name": sweep.host.name,
        "host_hash": sweep.host.weight_hash,
        "dtype": str(sweep.host.dtype),
        "device": str(sweep.host.device),
        "versions": sweep.plan["versions"],
        "started": started,
        "finished": _now(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _n_cells(blocks: Sequence[Block]) -> int:
    return sum(len(block) for block in blocks)


def blocks_of(keys: Iterator[CellKey], size: int) -> list[Block]:
    """Consecutive cells, `size` at a time."""
    every = list(keys)
    return [tuple(every[i : i + size]) for i in range(0, len(every), size)]
