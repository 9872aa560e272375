"""effects: how much of what a patch does goes straight to the output, and how much through later layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, final

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from reasonmech.arguments import check_type
from reasonmech.causal.aligned_pairs import AlignedPairs, align, as_rollout
from reasonmech.causal.means import mean_by
from reasonmech.causal.metric_values import last_logits
from reasonmech.causal.patching import with_effect
from reasonmech.causal.text_pairs import TextPairs
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.files import save_table
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Axis, Whole
from reasonmech.interventions.bind import bind
from reasonmech.interventions.canonical import fingerprint
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.verbs import patch
from reasonmech.metrics import TextMetric, as_text_metric
from reasonmech.ranges import Positive
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.activations.keep import Keep
from reasonmech.runtime.batched.cells import Cell, CellGrid, run_cells
from reasonmech.runtime.memory import halving
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.readout import Question, Readout, question_batches, questions, read
from reasonmech.site import Site

COLUMNS: Final = {
    "site": "what was patched",
    "position": "name of the place: its number, or the name it was given",
    "text": "number of the pair of texts",
    "problem": "the pair's problem, the unit of intervals",
    "clean": "metric after the clean text, nothing patched",
    "corrupt": "metric after the corrupt text, nothing patched",
    "total": "metric with the patch - metric of the text that was run",
    "direct": "the same, with everything that is added downstream held at its values of the run without the "
    "patch",
    "indirect": "total - direct: what goes through later attention and MLPs",
    "gap": "metric of the source text - metric of the text that was run",
    "metric": "name of the metric",
    "unit": "of clean, corrupt, total, direct, indirect and gap",
    "direction": "denoise or noise",
    "n_masked": "tokens patched, rows that the metric runs for long continuations included",
    "axis": "SHA-256 of the axis that was patched",
    "host": "the model",
    "host_hash": "and its weights",
}
AXES: Final = "an axis: rm.Whole(site), rm.Features(coder, indices), or a direction"
CELL: Final = ("site", "position", "metric", "unit", "direction")


@final
@dataclass(frozen=True, eq=False)
class Effects:
    """Total, direct and indirect effect of a patch for every place and pair of texts.

    Attributes:
        table: one row each, with the columns of `COLUMNS`.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        if missing := [name for name in COLUMNS if name not in self.table]:
            raise DataError(f"a table of effects without {', '.join(missing)}", allowed=", ".join(COLUMNS))

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def mean(self) -> pd.DataFrame:
        """One row per place: means over problems with 95 % intervals; effects also as shares of the gap."""
        parts = ("total", "direct", "indirect")
        ratios = {f"{part}_share": (part, "gap") for part in parts}
        return mean_by(self.table, CELL, columns=(*parts, "gap"), ratios=ratios)

    @checked
    def to_parquet(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the table to a new file. Raises OutputError where there is one, unless it is to go."""
        save_table(self.table, path, overwrite=overwrite)

    def __repr__(self) -> str:
        return f"Effects({self.table['position'].nunique()} positions x {self.table['text'].nunique()} texts)"

    def _repr_html_(self) -> str:
        return self.mean.to_html(index=False, float_format="%.3g")


@checked
def effects(
    host: Host,
    pairs: TextPairs,
    axis: Axis,
    *,
    metric: TextMetric,
    batch_rows: Positive = 128,
    progress: bool = False,
) -> Effects:
    """Total and direct effect of patching an axis (a site's stream, features, a direction) at each place.

    The total effect is that of `patch_grid`. For the direct one, every attn_out and mlp_out that is computed
    after the patch is held at its value of the run without it, at every token, so that the change reaches the
    output along the residual stream alone (the controlled direct effect of Pearl 2001; McGrath et al. 2023,
    arXiv 2307.15771, take the change of the stream through the unembedding, which is the same number). A
    patch that later layers repair or pass on has a total effect that is not its direct one. The stream joins
    tokens only through attention: at a token that the metric does not read, the direct effect is 0.

    Args:
        axis: what is patched; its site says where.
        pairs, metric, batch_rows: as in `patch_grid`; each place is patched alone.

    Raises:
        ArgumentError: a value of the wrong type; the message shows the right one.
        UnknownNameError, MismatchError: the axis does not fit the host.
        DataError: as in `patch_grid`. NonFiniteError: NaN or infinity came out of a run.
    """
    aligned = align(host, pairs)
    readout = as_text_metric(host, metric)
    check_type(
        axis, Axis, name="axis", allowed=AXES, do='rm.causal.effects(host, pairs, rm.Whole("mlp_out.2"), ...)'
    )
    axis.check(host)
    unpatched = aligned.unpatched(host, readout, batch_rows=batch_rows)
    patches = aligned.patches(axis, aligned.streams(host, [axis.at], progress=progress))
    keys = [(name, text) for name in patches for text in aligned.moves[name]]
    cells = [Cell(text, (patches[name],)) for name, text in keys]
    grid = CellGrid(aligned.target, cells)
    results = run_cells(host, grid, readout, batch_rows=batch_rows, progress=progress, desc="total")
    values = _values_with_downstream_fixed(
        host, aligned, axis, readout, batch_rows=batch_rows, progress=progress
    )
    frame = pd.DataFrame(keys, columns=["position", "text"])
    frame = frame.assign(site=str(axis.at), direction=aligned.direction)
    table = with_effect(frame, aligned, unpatched, results.value.double().numpy())
    table = table.rename(columns={"effect": "total"})
    direct = np.array([values[key] for key in keys]) - (table["value"] - table["total"]).to_numpy()
    constant = {
        "metric": readout.name,
        "unit": readout.unit,
        "host": host.name,
        "host_hash": host.weight_hash,
    }
    table = table.assign(
        direct=direct, indirect=table["total"] - direct, n_masked=results.n_masked.numpy(), **constant
    )
    return Effects(table.assign(axis=fingerprint(axis.to_json())).loc[:, list(COLUMNS)])


def downstream(host: Host, site: Site) -> list[Site]:
    """Everything that blocks add to the stream after a site, in order."""
    # a head is a part of its attn_out, which therefore is not downstream of it
    start = Site("attn_out", site.layer) if site.kind == "z" else site
    added = [Site(kind, layer) for layer in range(host.n_layers) for kind in ("attn_out", "mlp_out")]
    return [other for other in added if other.depth > start.depth]


def _values_with_downstream_fixed(
    host: Host, pairs: AlignedPairs, axis: Axis, metric: Readout, *, batch_rows: int, progress: bool
) -> dict[tuple[str, int], float]:
    """(place, pair) -> the metric with the patch, everything downstream of it as it was without."""
    values: dict[tuple[str, int], float] = {}

    def run(batch: Sequence[Question]) -> list[None]:
        values.update(_values_of(host, pairs, axis, metric, batch))
        return [None] * len(batch)

    with tqdm(total=len(pairs.target), desc="direct", unit="text", delay=1.0, disable=not progress) as bar:
        for batch in question_batches(questions(host, pairs.target, metric), batch_rows):
            bar.update(len(halving(batch, run, what="text")[0]))
    return values


def _values_of(
    host: Host, pairs: AlignedPairs, axis: Axis, metric: Readout, batch: Sequence[Question]
) -> dict[tuple[str, int], float]:
    """The same for the texts of some questions, whose rows make one pass."""
    rows = [row for question in batch for row in question.rows]
    of_rows = pairs.with_rows(rows, [question.number for question in batch for _ in question.rows])
    # continuations of several tokens are rows of their own: each is patched and fixed along its whole length
    fixed = _patches_to_themselves(host, rows, downstream(host, axis.at))
    first = dict(zip((question.number for question in batch), _starts(batch), strict=True))
    values: dict[tuple[str, int], float] = {}
    for name, one in of_rows.patches(axis, of_rows.streams(host, [axis.at])).items():
        having = [question for question in batch if question.number in pairs.moves[name]]
        numbers = [first[question.number] + row for question in having for row in range(question.n_rows)]
        logits = last_logits(host, having, hooks=Hooks(bind([one, *fixed], host)), numbers=numbers)
        of_texts = read(metric, having, logits).double().tolist()
        values |= {(name, question.number): value for question, value in zip(having, of_texts, strict=True)}
    return values


def _starts(batch: Sequence[Question]) -> list[int]:
    """Number of each question's first row."""
    ends = np.cumsum([question.n_rows for question in batch])
    return [int(end) - question.n_rows for end, question in zip(ends, batch, strict=True)]


def _patches_to_themselves(host: Host, rows: Sequence[PassRow], sites: Sequence[Site]) -> list[Intervention]:
    """Patches that fix sites at what they are without an edit, row by row."""
    if not sites:
        return []
    acts = capture(
        host, [as_rollout(row) for row in rows], sites, keep=Keep(batch_size=len(rows)), progress=False
    )
    lengths = [len(row.ids) for row in rows]
    pieces = {site: acts.at(site).split(lengths) for site in sites}
    # rows of other length are filled up at their end, beyond the tokens that the row has
    return [
        patch(Whole(site), torch.nn.utils.rnn.pad_sequence(list(lines), batch_first=True))
        for site, lines in pieces.items()
    ]
