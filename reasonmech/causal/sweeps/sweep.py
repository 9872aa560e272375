"""sweep: many configurations on many texts, packed into full batches, resumable to the bit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np

from reasonmech.causal.sweeps.identity import Plan, cell_hash, content, in_order, measured, plan_of, text_hash
from reasonmech.causal.sweeps.run import Block, Job, Key, SweepEstimate, blocks_of, carry_out, estimate
from reasonmech.causal.sweeps.table import SweepTable, tidy
from reasonmech.causal.sweeps.values import CLEAN, Configuration, check_names
from reasonmech.errors import DataError, NeverFiredError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import bind
from reasonmech.interventions.canonical import fingerprint
from reasonmech.interventions.intervention import plan_fingerprint
from reasonmech.interventions.masks import Where
from reasonmech.runtime.batched.cells import TEXT_ROWS, Cell, CellTable, run_cells
from reasonmech.runtime.pass_rows import LabelledTexts, PassRow, TextLike, check_positions, pass_rows
from reasonmech.runtime.passes import step_of
from reasonmech.runtime.readout import Readout
from reasonmech.step import Step

if TYPE_CHECKING:
    import pandas as pd

BATCHES_PER_SHARD: Final = 16
PROBED: Final = (1, 3)  # batches that are timed to tell what a batch costs from what a shard costs
SAMPLE_ROWS: Final = 1024  # of made-up tables, whose size tells that of the real ones
FEW: Final = 32  # batches of which no probe is worth it


def sweep(
    host: Host,
    texts: Sequence[TextLike] | LabelledTexts,
    configurations: Sequence[Configuration],
    *,
    metric: Readout,
    out: str | Path | None = None,
    batch_rows: int = 128,
    progress: bool = True,
) -> SweepTable:
    """Every configuration on every text: metric(text under the plan) beside metric(text), exact for every
    cell.

    Cells of all configurations share batches, layers below an edit are computed once, and an order that is
    given differently changes nothing: cells are known by the hash of their content.

    Args:
        texts: texts, token ids or rollouts; the metric is read after each. `LabelledTexts` as in `forward`.
        configurations: from `grid`, or made by hand.
        metric: anything that reads next-token logits, a frozen dataclass or an object with `to_json`.
        out: directory; a killed sweep goes on where it stopped when it is called again, and a finished one is
            read. The numbers of a resumed sweep are those of an uninterrupted one, bit for bit. None: in
            memory.
        batch_rows: rows per pass; out of memory halves it, with a warning.
        progress: tell time and disk space before it starts, and show a bar.

    Raises:
        NeverFiredError: a mask names no token of a text; told before anything runs.
        OutputError: `out` holds a sweep of another configuration; the differing keys are listed.
        NonFiniteError: NaN or infinite logits or values; the cell is named.
        DataError: no text, no configuration, two of one name, or a metric whose content cannot be told.
        UnknownNameError, MismatchError, BindError: a plan does not fit the host.
    """
    work = _Work(host, tuple(pass_rows(host, texts)), tuple(configurations), metric, batch_rows)
    return carry_out(work.job(), out=out, progress=progress)


def estimate_sweep(
    host: Host,
    texts: Sequence[TextLike] | LabelledTexts,
    configurations: Sequence[Configuration],
    *,
    metric: Readout,
    out: str | Path | None = None,
    batch_rows: int = 128,
) -> SweepEstimate:
    """What `sweep` with these arguments will take, measured on a few batches. Raises what `sweep` raises."""
    work = _Work(host, tuple(pass_rows(host, texts)), tuple(configurations), metric, batch_rows)
    return estimate(work.job(), out=out)


@final
@dataclass(frozen=True, eq=False)
class _Work:
    """A sweep over texts."""

    host: Host
    texts: tuple[PassRow, ...]
    given: tuple[Configuration, ...]
    metric: Readout
    batch_rows: int

    def job(self) -> Job:
        check_names(self.given)
        if not self.texts:
            raise DataError("no text to sweep over", do="give at least one")
        _check_plans(self.host, self.texts, self.given)
        blocks = blocks_of(self._keys(), self.batch_rows * BATCHES_PER_SHARD)
        return Job(
            self.host,
            self.plan,
            blocks,
            self._compute,
            self._tidy,
            self._seconds,
            partial(self._n_bytes, blocks),
        )

    @cached_property
    def ordered(self) -> list[Configuration]:
        return in_order(self.given)

    @cached_property
    def plan(self) -> Plan:
        asked = {tuple(runs) for runs in self.metric.continuations(self.host, len(self.texts))}
        settings = {
            "continuations": fingerprint(content(asked)),
            "texts": [text_hash(text) for text in self.texts],
            "batch_rows": self.batch_rows,
        }
        return plan_of(self.host, self.metric, self.given, settings)

    def _keys(self) -> Iterator[Key]:
        """Clean cells first; then, for some texts of like length, which share a clean pass, every
        configuration."""
        what = measured(self.plan)
        units = [f"{row} {digest}" for row, digest in enumerate(self.plan["texts"])]
        by_length = sorted(range(len(self.texts)), key=lambda row: len(self.texts[row].ids))
        for row in by_length:
            yield Key(None, row, cell_hash(what, plan_fingerprint(()), units[row]))
        for start in range(0, len(by_length), TEXT_ROWS):
            for number, one in enumerate(self.ordered):
                for row in by_length[start : start + TEXT_ROWS]:
                    yield Key(number, row, cell_hash(what, one.fingerprint, units[row]))

    def _run(self, block: Sequence[Key]) -> CellTable:
        plans = [() if key.configuration is None else self.ordered[key.configuration].plan for key in block]
        cells = [Cell(key.unit, plan) for key, plan in zip(block, plans, strict=True)]
        return run_cells(self.host, self.texts, cells, self.metric, batch_rows=self.batch_rows)

    def _compute(self, block: Block, _: Path | None) -> pd.DataFrame:
        found = self._run(block)
        return self._frame(block, found.value.double().numpy(), found.n_masked.numpy(), found.n_fired.numpy())

    def _frame(
        self, block: Block, value: np.ndarray, n_masked: np.ndarray, n_fired: np.ndarray
    ) -> pd.DataFrame:
        import pandas as pd

        names = [
            CLEAN if key.configuration is None else self.ordered[key.configuration].name for key in block
        ]
        return pd.DataFrame(
            {
                "cell": [key.cell for key in block],
                "configuration": names,
                "text": np.array([key.unit for key in block], dtype=np.int64),
                "value": value.astype(np.float64),
                "n_masked": n_masked.astype(np.int64),
                "n_fired": n_fired.astype(np.int64),
            }
        )

    def _tidy(self, cells: pd.DataFrame) -> pd.DataFrame:
        return tidy(cells, self.given, on=["text"], metric=self.metric.name, unit=self.metric.unit)

    def _seconds(self, blocks: Sequence[Block]) -> float | None:
        """Time of the blocks, from two timed pieces of the middle one: each shard costs a + b * its
        batches."""
        n_cells = sum(len(block) for block in blocks)
        if n_cells <= FEW * self.batch_rows:
            return None
        middle = blocks[len(blocks) // 2]
        few, more = (middle[: n * self.batch_rows] for n in PROBED)
        self._run(few[:1])  # what is slow only once is not timed
        times = []
        for piece in (few, more):
            start = time.perf_counter()
            self._run(piece)
            times.append(time.perf_counter() - start)
        per_cell = max(times[1] - times[0], 0.0) / max(len(more) - len(few), 1)
        return n_cells * per_cell + len(blocks) * max(times[0] - per_cell * len(few), 0.0)

    def _n_bytes(self, blocks: Sequence[Block]) -> int:
        """Shards and table together, as large as tables of random numbers for a part of the cells are."""
        n, random = min(SAMPLE_ROWS, sum(len(block) for block in blocks)), np.random.default_rng(0)
        some = tuple(Key(0, i, random.bytes(32).hex()) for i in range(n))
        shard = self._frame(some, random.random(n), random.integers(1, 9, n), random.integers(1, 9, n))
        table = self._tidy(shard).assign(clean=random.random(n), effect=random.random(n))
        return (_parquet_bytes(shard) + _parquet_bytes(table)) * sum(len(block) for block in blocks) // n


def _parquet_bytes(frame: pd.DataFrame) -> int:
    file = BytesIO()
    frame.to_parquet(file, index=False)
    return len(file.getvalue())


def _check_plans(host: Host, texts: Sequence[PassRow], configurations: Sequence[Configuration]) -> None:
    """Bind every plan, and look at every mask on every text, before an hour of work finds out."""
    seen: set[str] = set()
    steps = [
        step_of(host, texts[start : start + 64], range(start, min(start + 64, len(texts))))
        for start in range(0, len(texts), 64)
    ]
    for one in configurations:
        check_positions(one.plan, texts)
        for intervention in bind(one.plan, host).plan:
            key = fingerprint(intervention.where.to_json())
            if key not in seen:
                seen.add(key)
                _check_mask(intervention.where, one.name, texts, steps)


def _check_mask(where: Where, name: str, texts: Sequence[PassRow], steps: Sequence[Step]) -> None:
    named = [step.rows[~(where.mask(step) & step.mask).any(-1)].tolist() for step in steps]
    empty = [int(row) for rows in named for row in rows]
    if empty:
        raise NeverFiredError(
            f"the mask {where} of configuration {name!r} names no token of {texts[empty[0]].name}"
            f" ({len(empty)} of {len(texts)} texts)",
            do="leave these texts out, or choose a mask that they have",
        )
