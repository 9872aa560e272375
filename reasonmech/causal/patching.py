"""patch_grid: activation patching at every site and position, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, final

import numpy as np
import pandas as pd

from reasonmech.causal.exchange import Exchange, PatchDirection, exchange
from reasonmech.causal.intervals import mean_by
from reasonmech.causal.positions import Positions
from reasonmech.errors import CorruptFileError, DataError
from reasonmech.files import write_table
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Whole
from reasonmech.runtime.batched.cells import Cell, run_cells
from reasonmech.runtime.pass_rows import TextLike
from reasonmech.runtime.readout import Readout
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
        """One row per site and place: means over problems with 95 % intervals (see `intervals.mean_by`).

        `normalised` is the mean effect over the mean gap, not a mean of ratios.
        """
        columns, ratios = ("value", "effect", "gap"), {"normalised": ("effect", "gap")}
        return mean_by(self.table, CELL, columns=columns, ratios=ratios)

    def to_parquet(self, path: str | Path) -> None:
        """Write the table, to a temporary name first."""
        write_table(self.table, path)

    @classmethod
    def from_parquet(cls, path: str | Path) -> PatchGrid:
        """Read what `to_parquet` wrote. Raises CorruptFileError when the file is damaged."""
        try:
            return cls(pd.read_parquet(path))
        except (OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise CorruptFileError(f"{path} is not a patch grid: {error}", do="run it again") from error

    def _repr_html_(self) -> str:
        return self.mean.to_html(index=False, float_format="%.3g")


def patch_grid(
    host: Host,
    clean: Sequence[TextLike],
    corrupt: Sequence[TextLike],
    *,
    sites: Sequence[Site | str],
    metric: Readout,
    positions: Positions = None,
    direction: PatchDirection = "denoise",
    batch_rows: int = 128,
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
        clean, corrupt: pairs of texts. Of a text of which the metric reads what comes next, the last token
            counts.
        sites: such as `resid_post.3`, `attn_out.3`, `mlp_out.3`, or one head, `z.3.1`.
        positions: None: every position, by its number from the start, which needs pairs of equal length; a
            list of positions, negative ones from the end; or name -> per pair a position, or (clean, corrupt)
            positions.
        batch_rows: rows of one pass; halved, with a warning, where memory is short.

    Raises:
        UnknownNameError: the host has no such site, or there is no such direction.
        DataError: nothing to patch, pairs that cannot be aligned, a position outside its text, or a metric
            that speaks of other texts.
        NonFiniteError: NaN or infinity came out of a cell.
    """
    at = tuple(dict.fromkeys(host.check_site(site) for site in sites))
    if not at:
        raise DataError("no site to patch", do="name at least one, such as resid_post.2")
    pairs = exchange(host, clean, corrupt, positions=positions, direction=direction)
    whole_runs = pairs.whole_runs(host, metric, batch_rows=batch_rows)
    acts = pairs.streams(host, at, progress=progress)
    keys, cells = [], []
    for site in at:
        for name, given in pairs.patches(Whole(site), acts).items():
            for text in pairs.moves[name]:
                keys.append((site, name, text))
                cells.append(Cell(text, (given,)))
    found = run_cells(
        host, pairs.target, cells, metric, batch_rows=batch_rows, progress=progress, desc="patch grid"
    )
    table = with_effect(_frame(pairs, keys), pairs, whole_runs, found.value.double().numpy())
    constant = {"metric": metric.name, "unit": metric.unit, "host": host.name, "host_hash": host.weight_hash}
    return PatchGrid(table.assign(n_masked=found.n_masked.numpy(), **constant).loc[:, list(COLUMNS)])


def _frame(pairs: Exchange, keys: Sequence[tuple[Site, str, int]]) -> pd.DataFrame:
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
    frame: pd.DataFrame, pairs: Exchange, whole_runs: Sequence[object], value: np.ndarray
) -> pd.DataFrame:
    """The frame with problem, clean, corrupt, value, effect, gap and normalised, by its column `text`."""
    text = frame["text"].to_numpy()
    clean, corrupt = (np.asarray(values)[text] for values in whole_runs)
    run, other = (corrupt, clean) if pairs.direction == "denoise" else (clean, corrupt)
    effect, gap = value - run, other - run
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
