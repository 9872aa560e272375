"""sweep: many configurations on many texts, packed into full batches, resumable to the bit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np

from reasonmech.causal.sweeps.configurations import CLEAN, Configuration, check_configurations
from reasonmech.causal.sweeps.identity import cell_hash, content, measured, text_hash
from reasonmech.causal.sweeps.run import Block, CellKey, Sweep, SweepEstimate, blocks_of, carry_out, estimate
from reasonmech.causal.sweeps.table import SweepTable, tidy
from reasonmech.causal.sweeps.trials import TextTrials
from reasonmech.door import checked
from reasonmech.errors import DataError, NoChangeError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import bind
from reasonmech.interventions.canonical import fingerprint
from reasonmech.interventions.intervention import plan_fingerprint
from reasonmech.interventions.masks import Where
from reasonmech.metrics import TextMetric, as_text_metric
from reasonmech.metrics.base import check_host
from reasonmech.runtime.batched.cells import TEXT_ROWS, Cell, CellGrid, CellTable, run_cells
from reasonmech.runtime.names import check_words
from reasonmech.runtime.pass_rows import (
    LabelledTexts,
    PassRow,
    TextLike,
    check_positions,
    pass_rows,
    texts_of,
)
from reasonmech.runtime.passes import step_of
from reasonmech.runtime.readout import Readout, questions
from reasonmech.step import Step

if TYPE_CHECKING:
    import pandas as pd

BATCHES_PER_SHARD: Final = 16
PROBED: Final = (1, 3)  # batches that are timed to tell what a batch costs from what a shard costs
SAMPLE_ROWS: Final = 1024  # of made-up tables, whose size tells that of the real ones
FEW: Final = 32  # batches: of fewer, timing some is no small part of the work


@checked
def sweep(
    host: Host,
    texts: Sequence[TextLike] | TextLike | LabelledTexts | TextTrials,
    configurations: Sequence[Configuration] | Configuration,
    *,
    metric: TextMetric,
    out: str | Path | None = None,
    progress: bool = True,
) -> SweepTable:
    """Every configuration on every text: metric(text under the plan) beside metric(text), exact everywhere.

    Cells of all configurations share batches, layers below an edit are computed once, and an order that is
    given differently changes nothing: cells are known by the hash of their content.

    Args:
        texts: texts, token ids or rollouts; the metric is read after each. `LabelledTexts` as in `forward`;
            `TextTrials` say how many share a pass.
        configurations: from `grid`, or made by hand.
        metric: anything that reads next-token logits, a frozen dataclass or an object with `to_json`; or the
            name of a registered one that needs no settings.
        out: directory; a killed sweep goes on where it stopped when it is called again, and a finished one is
            read. The numbers of a resumed sweep are those of an uninterrupted one, bit for bit. None: in
            memory.
        progress: tell time and disk space before it starts, and show a bar.

    Raises:
        NoChangeError: a mask names no token of a text; told before anything runs.
        OutputError: `out` holds another sweep; the differing keys are listed.
        NonFiniteError: NaN or infinite logits or values; the cell is named.
        DataError: no text, no configuration, two of one name, or a metric whose content cannot be told.
        ArgumentError: something of another type. UnknownNameError, MismatchError, BindError: a plan does not
            fit the host.
    """
    return carry_out(_text_sweep(host, texts, configurations, metric), out=out, progress=progress)


@checked
def estimate_sweep(
    host: Host,
    texts: Sequence[TextLike] | TextLike | LabelledTexts | TextTrials,
    configurations: Sequence[Configuration] | Configuration,
    *,
    metric: TextMetric,
    out: str | Path | None = None,
) -> SweepEstimate:
    """What `sweep` with these arguments will take, measured on a few batches. Raises what `sweep` raises."""
    return estimate(_text_sweep(host, texts, configurations, metric), out=out)


def _text_sweep(
    host: Host,
    texts: Sequence[TextLike] | TextLike | LabelledTexts | TextTrials,
    configurations: Sequence[Configuration] | Configuration,
    metric: TextMetric,
) -> TextSweep:
    check_host(host, do="sweep(host, texts, configurations, metric=...)")
    trials = texts if isinstance(texts, TextTrials) else TextTrials(texts)
    rows = tuple(pass_rows(host, trials.texts))
    plans = tuple(check_configurations(configurations))
    if not rows:
        raise DataError("no text to sweep over", do="give at least one")
    for where in {intervention.where for one in plans for intervention in one.plan}:
        check_words(where, host, texts_of(trials.texts))
    _check_plans(host, rows, plans)
    return TextSweep(host, rows, plans, as_text_metric(host, metric), trials.batch_rows)


@final
@dataclass(frozen=True, eq=False)
class TextSweep(Sweep):
    """A sweep over texts that is ready to run."""

    host: Host
    rows: tuple[PassRow, ...]
    configurations: tuple[Configuration, ...]
    metric: Readout
    batch_rows: int

    def settings(self) -> Mapping[str, object]:
        runs = {question.runs for question in questions(self.host, self.rows, self.metric)}
        return {
            "continuations": fingerprint(content(runs)),
            "texts": [text_hash(row) for row in self.rows],
            "batch_rows": self.batch_rows,
        }

    def make_blocks(self) -> Sequence[Block]:
        return blocks_of(self._keys(), self.batch_rows * BATCHES_PER_SHARD)

    def _keys(self) -> Iterator[CellKey]:
        """Clean cells first; then every configuration on a few texts at a time, which share a clean pass."""
        fixed = measured(self.plan)
        units = [f"{number} {digest}" for number, digest in enumerate(self.plan["texts"])]
        by_length = sorted(range(len(self.rows)), key=lambda number: len(self.rows[number].ids))
        for row in by_length:
            yield CellKey(None, row, cell_hash(fixed, plan_fingerprint(()), units[row]))
        for start in range(0, len(by_length), TEXT_ROWS):
            for number, one in enumerate(self.ordered):
                for row in by_length[start : start + TEXT_ROWS]:
                    yield CellKey(number, row, cell_hash(fixed, one.fingerprint, units[row]))

    def compute(self, block: Block, directory: Path | None) -> pd.DataFrame:
        cells = self._run(block)
        return self._frame(block, cells.value.double().numpy(), cells.n_masked.numpy(), cells.n_gated.numpy())

    def _run(self, block: Sequence[CellKey]) -> CellTable:
        plans = [() if key.configuration is None else self.ordered[key.configuration].plan for key in block]
        cells = [Cell(key.unit, plan) for key, plan in zip(block, plans, strict=True)]
        return run_cells(self.host, CellGrid(self.rows, cells), self.metric, batch_rows=self.batch_rows)

    def _frame(
        self, block: Block, value: np.ndarray, n_masked: np.ndarray, n_gated: np.ndarray
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
                "n_gated": n_gated.astype(np.int64),
            }
        )

    def tidy(self, cells: pd.DataFrame) -> pd.DataFrame:
        return tidy(cells, self.configurations, on=["text"], metric=self.metric.name, unit=self.metric.unit)

    def seconds(self, blocks: Sequence[Block]) -> float | None:
        """Time of the blocks, from two timed parts of the middle one: a shard costs a + b * its batches."""
        n_cells = sum(len(block) for block in blocks)
        if n_cells <= FEW * self.batch_rows:
            return None
        middle = blocks[len(blocks) // 2]
        small, large = (middle[: n * self.batch_rows] for n in PROBED)
        self._run(small[:1])  # what is slow only once is not timed
        times = []
        for part in (small, large):
            start = time.perf_counter()
            self._run(part)
            times.append(time.perf_counter() - start)
        per_cell = max(times[1] - times[0], 0.0) / max(len(large) - len(small), 1)
        return n_cells * per_cell + len(blocks) * max(times[0] - per_cell * len(small), 0.0)

    def n_bytes(self) -> int:
        """Shards and table together, as large as tables of random numbers for a part of the cells are."""
        n_cells = sum(len(block) for block in self.blocks)
        n, random = min(SAMPLE_ROWS, n_cells), np.random.default_rng(0)
        keys = tuple(CellKey(0, i, random.bytes(32).hex()) for i in range(n))
        shard = self._frame(keys, random.random(n), random.integers(1, 9, n), random.integers(1, 9, n))
        table = self.tidy(shard).assign(clean=random.random(n), effect=random.random(n))
        return (_parquet_bytes(shard) + _parquet_bytes(table)) * n_cells // n


def _parquet_bytes(frame: pd.DataFrame) -> int:
    file = BytesIO()
    frame.to_parquet(file, index=False)
    return len(file.getvalue())


def _check_plans(host: Host, texts: Sequence[PassRow], configurations: Sequence[Configuration]) -> None:
    """Bind every plan, and look at every mask on every text, before an hour of work finds out."""
    checked: set[str] = set()  # masks: many configurations share one
    steps = [
        step_of(host, texts[start : start + 64], range(start, min(start + 64, len(texts))))
        for start in range(0, len(texts), 64)
    ]
    for one in configurations:
        check_positions(one.plan, texts)
        for intervention in bind(one.plan, host).plan:
            key = fingerprint(intervention.where.to_json())
            if key not in checked:
                checked.add(key)
                _check_mask(intervention.where, one.name, texts, steps)


def _check_mask(where: Where, name: str, texts: Sequence[PassRow], steps: Sequence[Step]) -> None:
    named = [step.rows[~(where.mask(step) & step.mask).any(-1)].tolist() for step in steps]
    empty = [int(row) for rows in named for row in rows]
    if empty:
        why = where.absence([texts[row].ids for row in empty])
        raise NoChangeError(
            f"the mask {where} of configuration {name!r} names no token of {texts[empty[0]].name}"
            f" ({len(empty)} of {len(texts)} texts)" + (f": {why}" if why else ""),
            do="leave these texts out, or choose a mask that they have",
        )
