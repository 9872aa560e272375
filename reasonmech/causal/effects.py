"""effects: how much of what a patch does goes straight to the output, and how much through what comes after
it."""

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

from reasonmech.causal.clean import packs, tails_of
from reasonmech.causal.exchange import Exchange, PatchDirection, as_rollout, exchange
from reasonmech.causal.intervals import mean_by
from reasonmech.causal.patching import with_effect
from reasonmech.causal.positions import Positions
from reasonmech.errors import DataError
from reasonmech.files import write_table
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Axis, Whole
from reasonmech.interventions.bind import bind
from reasonmech.interventions.canonical import fingerprint
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.verbs import patch
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.batched.cells import Cell, run_cells
from reasonmech.runtime.memory import halving
from reasonmech.runtime.pass_rows import PassRow, TextLike
from reasonmech.runtime.readout import Question, Readout, questions, read
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
        """One row per place: means over problems with 95 % intervals, and each effect as a share of the mean
        gap."""
        parts = ("total", "direct", "indirect")
        ratios = {f"{part}_share": (part, "gap") for part in parts}
        return mean_by(self.table, CELL, columns=(*parts, "gap"), ratios=ratios)

    def to_parquet(self, path: str | Path) -> None:
        """Write the table, to a temporary name first."""
        write_table(self.table, path)

    def _repr_html_(self) -> str:
        return self.mean.to_html(index=False, float_format="%.3g")


def effects(
    host: Host,
    clean: Sequence[TextLike],
    corrupt: Sequence[TextLike],
    axis: Axis,
    *,
    metric: Readout,
    positions: Positions = None,
    direction: PatchDirection = "denoise",
    batch_rows: int = 128,
    progress: bool = False,
) -> Effects:
    """Total and direct effect of patching an axis (the stream of a site, features, a direction) at each
    place.

    The total effect is that of `patch_grid`. For the direct one, every attn_out and mlp_out that is computed
    after the patch is held at its value of the run without it, at every token, so that the change reaches the
    output along the residual stream alone (the controlled direct effect of Pearl 2001; McGrath et al. 2023,
    arXiv 2307.15771, take the change of the stream through the unembedding, which is the same number). A
    patch that later layers repair or pass on has a total effect that is not its direct one. The stream joins
    tokens only through attention: at a token that the metric does not read, the direct effect is 0.

    Args:
        axis: what is patched; its site says where.
        clean, corrupt, positions, direction, batch_rows: as in `patch_grid`; each place is patched alone.

    Raises:
        UnknownNameError, MismatchError: the axis does not fit the host, or there is no such direction.
        DataError: as in `patch_grid`. NonFiniteError: NaN or infinity came out of a run.
    """
    axis.check(host)
    pairs = exchange(host, clean, corrupt, positions=positions, direction=direction)
    whole_runs = pairs.whole_runs(host, metric, batch_rows=batch_rows)
    patches = pairs.patches(axis, pairs.streams(host, [axis.at], progress=progress))
    keys = [(name, text) for name in patches for text in pairs.moves[name]]
    cells = [Cell(text, (patches[name],)) for name, text in keys]
    found = run_cells(
        host, pairs.target, cells, metric, batch_rows=batch_rows, progress=progress, desc="total"
    )
    direct = _direct(host, pairs, axis, metric, batch_rows=batch_rows, progress=progress)
    frame = pd.DataFrame(keys, columns=["position", "text"]).assign(site=str(axis.at), direction=direction)
    table = with_effect(frame, pairs, whole_runs, found.value.double().numpy()).rename(
        columns={"effect": "total"}
    )
    held = np.array([direct[key] for key in keys]) - (table["value"] - table["total"]).to_numpy()
    constant = {"metric": metric.name, "unit": metric.unit, "host": host.name, "host_hash": host.weight_hash}
    table = table.assign(
        direct=held, indirect=table["total"] - held, n_masked=found.n_masked.numpy(), **constant
    )
    return Effects(table.assign(axis=fingerprint(axis.to_json())).loc[:, list(COLUMNS)])


def downstream(host: Host, site: Site) -> list[Site]:
    """Everything that blocks add to the stream after a site, in order. A head is a part of its own
    attn_out."""
    start = Site("attn_out", site.layer) if site.kind == "z" else site
    added = [Site(kind, layer) for layer in range(host.n_layers) for kind in ("attn_out", "mlp_out")]
    return [other for other in added if other.depth > start.depth]


def _direct(
    host: Host, pairs: Exchange, axis: Axis, metric: Readout, *, batch_rows: int, progress: bool
) -> dict[tuple[str, int], float]:
    """(place, pair) -> the metric with the patch, everything downstream of it held."""
    found: dict[tuple[str, int], float] = {}

    def run(asked: Sequence[Question]) -> list[None]:
        found.update(_held_values(host, pairs, axis, metric, asked))
        return [None] * len(asked)

    with tqdm(total=len(pairs.target), desc="direct", unit="text", delay=1.0, disable=not progress) as bar:
        for asked in packs(questions(host, pairs.target, metric), batch_rows):
            bar.update(len(halving(asked, run, what="text")[0]))
    return found


def _held_values(
    host: Host, pairs: Exchange, axis: Axis, metric: Readout, asked: Sequence[Question]
) -> dict[tuple[str, int], float]:
    """The same for the texts of some questions, whose rows make one pass."""
    rows = [row for question in asked for row in question.rows]
    own = pairs.over(rows, [question.number for question in asked for _ in question.rows])
    held = _held(host, rows, downstream(host, axis.at))
    first = dict(zip((question.number for question in asked), _starts(asked), strict=True))
    found: dict[tuple[str, int], float] = {}
    for name, given in own.patches(axis, own.streams(host, [axis.at])).items():
        having = [question for question in asked if question.number in pairs.moves[name]]
        numbers = [first[question.number] + row for question in having for row in range(question.n_rows)]
        tails = tails_of(host, having, hooks=Hooks(bind([given, *held], host)), numbers=numbers)
        values = read(metric, having, tails).double().tolist()
        found |= {(name, question.number): value for question, value in zip(having, values, strict=True)}
    return found


def _starts(asked: Sequence[Question]) -> list[int]:
    """Number of each question's first row."""
    ends = np.cumsum([question.n_rows for question in asked])
    return [int(end) - question.n_rows for end, question in zip(ends, asked, strict=True)]


def _held(host: Host, rows: Sequence[PassRow], sites: Sequence[Site]) -> list[Intervention]:
    """Patches that hold sites at what they are without an edit, row by row."""
    if not sites:
        return []
    acts = capture(host, [as_rollout(row) for row in rows], sites, batch_size=len(rows), progress=False)
    lengths = [len(row.ids) for row in rows]
    pieces = {site: acts.at(site).split(lengths) for site in sites}
    return [
        patch(Whole(site), torch.nn.utils.rnn.pad_sequence(list(lines), batch_first=True))
        for site, lines in pieces.items()
    ]
