"""patch_grid: activation patching at every site and position, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, final

import numpy as np
import pandas as pd
from torch import Tensor

from reasonmech.arguments import as_sequence
from reasonmech.causal.aligned_pairs import AlignedPairs, align
from reasonmech.causal.means import mean_by
from reasonmech.causal.text_pairs import TextPairs
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.files import load_table, save_table
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Whole
from reasonmech.metrics import TextMetric, as_text_metric
from reasonmech.ranges import Positive
from reasonmech.runtime.batched.cells import Cell, CellGrid, run_cells
from reasonmech.site import Site

COLUMNS: Final = {
    "site": "what was patched",
    "layer": "its block",
    "kind": "its kind",
    "head": "its head, missing where it is no head",
    "position": "name of the place: its number, or the name it was given",
    "text": "number of the pair of texts",
    "problem": "the pair's problem, the unit of intervals",
    "clean": "metric after the clean text, nothing patched",
    "corrupt": "metric after the corrupt text, nothing patched",
    "value": "metric after the text that was run, this one place patched",
    "effect": "value - metric of the text that was run",
    "gap": "what patching everything would do: metric of the source text - metric of the text that was run",
    "normalised": "effect / gap: 0 nothing, 1 everything; signed, not clipped; missing where the gap is 0",
    "metric": "name of the metric",
    "unit": "of clean, corrupt, value, effect and gap",
    "direction": "denoise or noise",
    "n_masked": "tokens patched, rows that the metric runs for long continuations included",
    "host": "the model",
    "host_hash": "and its weights",
}
CELL: Final = ("site", "layer", "kind", "head", "position", "metric", "unit", "direction")


@final
@dataclass(frozen=True, eq=False)
class PatchGrid:
    """A patched run for every site, place and pair of texts.

    Attributes:
        table: one row each, with the columns of `COLUMNS`.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        if missing := [name for name in COLUMNS if name not in self.table]:
            raise DataError(f"a patch grid without {', '.join(missing)}", allowed=", ".join(COLUMNS))

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def mean(self) -> pd.DataFrame:
        """One row per site and place: means over problems with 95 % intervals (see `means.mean_by`).

        `normalised` is the mean effect over the mean gap, not a mean of ratios.
        """
        columns, ratios = ("value", "effect", "gap"), {"normalised": ("effect", "gap")}
        return mean_by(self.table, CELL, columns=columns, ratios=ratios)

    @checked
    def to_parquet(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the table to a new file. Raises OutputError where there is one, unless it is to go."""
        save_table(self.table, path, overwrite=overwrite)

    @classmethod
    @checked
    def from_parquet(cls, path: str | Path) -> PatchGrid:
        """Read what `to_parquet` wrote. Raises CorruptFileError when the file is damaged."""
        return load_table(path, cls, what="a patch grid", do="run it again")

    def __repr__(self) -> str:
        n_sites, n_places = self.table["site"].nunique(), self.table["position"].nunique()
        return f"PatchGrid({n_sites} sites x {n_places} positions x {self.table['text'].nunique()} texts)"

    def _repr_html_(self) -> str:
        return self.mean.to_html(index=False, float_format="%.3g")


@checked
def patch_grid(
    host: Host,
    pairs: TextPairs,
    sites: Site | str | Sequence[Site | str],
    *,
    metric: TextMetric,
    batch_rows: Positive = 128,
    progress: bool = False,
) -> PatchGrid:
    """The metric after every text when one site at one position is given what the other text had there.

    "denoise" runs the corrupt text and patches from the clean one (what is sufficient to restore), "noise"
    runs the clean text and patches from the corrupt one (what is necessary): Zhang and Nanda 2024 (arXiv
    2309.16042, section 2); Heimersheim and Nanda 2024 (arXiv 2404.15255).
    `effect = value - value of the text as it is`,
    `normalised = effect / (value of the source text - value of the text as it is)`. Every cell is one exact
    run of the model, computed from its site and its position on.

    Args:
        pairs: texts, positions and direction; the metric reads what comes next after the last token.
        sites: such as `resid_post.3`, `attn_out.3`, `mlp_out.3`, or one head, `z.3.1`.
        metric: such as `rm.logit_diff(...)`, or the name of one that needs no settings.
        batch_rows: rows of one pass; halved, with a warning, where memory is short.

    Raises:
        ArgumentError: a value of the wrong type; the message shows the right one.
        UnknownNameError: the host has no such site.
        DataError: nothing to patch, pairs that cannot be aligned, a position outside its text, or a metric
            that speaks of other texts.
        NonFiniteError: NaN or infinity came out of a cell.
    """
    aligned = align(host, pairs)
    readout = as_text_metric(host, metric)
    named = as_sequence(sites, (str, Site), name="sites", allowed="sites, such as ['resid_post.2', 'z.3.1']")
    at = tuple(dict.fromkeys(host.check_site(site) for site in named))
    if not at:
        raise DataError("no site to patch", do="name at least one, such as resid_post.2")
    unpatched = aligned.unpatched(host, readout, batch_rows=batch_rows)
    acts = aligned.streams(host, at, progress=progress)
    keys, cells = [], []
    for site in at:
        for name, one in aligned.patches(Whole(site), acts).items():
            for text in aligned.moves[name]:
                keys.append((site, name, text))
                cells.append(Cell(text, (one,)))
    grid = CellGrid(aligned.target, cells)
    results = run_cells(host, grid, readout, batch_rows=batch_rows, progress=progress, desc="patch grid")
    table = with_effect(_frame(aligned, keys), aligned, unpatched, results.value.double().numpy())
    constant = {
        "metric": readout.name,
        "unit": readout.unit,
        "host": host.name,
        "host_hash": host.weight_hash,
    }
    return PatchGrid(table.assign(n_masked=results.n_masked.numpy(), **constant).loc[:, list(COLUMNS)])


def _frame(pairs: AlignedPairs, keys: Sequence[tuple[Site, str, int]]) -> pd.DataFrame:
    heads = pd.array([pd.NA if site.head is None else site.head for site, _, _ in keys], dtype="Int64")
    return pd.DataFrame(
        {
            "site": [str(site) for site, _, _ in keys],
            "layer": [site.layer for site, _, _ in keys],
            "kind": [site.kind for site, _, _ in keys],
            "head": heads,
            "position": [name for _, name, _ in keys],
            "text": [text for _, _, text in keys],
            "direction": pairs.direction,
        }
    )


def with_effect(
    frame: pd.DataFrame, pairs: AlignedPairs, unpatched: Sequence[Tensor], value: np.ndarray
) -> pd.DataFrame:
    """The frame with problem, clean, corrupt, value, effect, gap and normalised, by its column `text`."""
    text = frame["text"].to_numpy()
    clean, corrupt = (np.asarray(values)[text] for values in unpatched)
    target, source = (corrupt, clean) if pairs.direction == "denoise" else (clean, corrupt)
    effect, gap = value - target, source - target
    # both branches of `where` are computed, the division by 0 that it then drops among them
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(gap == 0, np.nan, effect / gap)
    return frame.assign(
        problem=np.array(pairs.problems, dtype=object)[text],
        clean=clean,
        corrupt=corrupt,
        value=value,
        effect=effect,
        gap=gap,
        normalised=share,
    )
