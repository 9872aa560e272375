"""SweepTable: one row per cell of a sweep, beside what the clean run gave, and the mean effects of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from reasonmech.causal.means import mean_by
from reasonmech.causal.sweeps.configurations import CLEAN, Configuration
from reasonmech.causal.sweeps.store import OLD_COLUMNS, SHARDS, TABLE_FILE
from reasonmech.door import checked
from reasonmech.errors import CorruptFileError, OutputError
from reasonmech.files import partial_of, remove_leftovers
from reasonmech.json_text import read_object
from reasonmech.resumable import RECORD_FILE

if TYPE_CHECKING:
    import pandas as pd

WHAT: Final = ("configuration", "axis", "site", "verb", "amount", "where", "seed")
MEASURED: Final = ("metric", "unit")
NUMBERS: Final = ("value", "clean", "effect")
ESTIMATES: Final = tuple(f"{name}{end}" for name in NUMBERS for end in ("", "_low", "_high"))


@final
@dataclass(frozen=True, eq=False)
class SweepTable:
    """What every configuration did to every text or rollout.

    Attributes:
        table: one row per cell: configuration, axis, site, verb, amount, where, seed, fingerprint (of the
            plan), cell (content hash); what it was tried on (text, or problem, sample and decode_seed);
            metric, unit, value, clean (the same without the plan), effect (value - clean), n_masked and
            n_gated (tokens). Rows of the configuration "clean" are the clean run itself.
        record: host, versions, device and times of the run that made it.
    """

    table: pd.DataFrame
    record: dict[str, Any]

    @cached_property
    def mean(self) -> pd.DataFrame:
        """Means of every configuration with 95 % intervals, the texts (or problems) resampled in pairs.

        All configurations meet the same draws; samples and seeds are averaged within a problem first (see
        `stats`). Cells without an effect (a rollout that gave the metric nothing to measure) are left out,
        and n says how many texts or problems are left. A single one has no interval: its ends are NaN.

        Returns:
            configuration, axis, site, verb, amount, where, seed, metric, unit, n, then value, clean and
            effect, each with _low and _high, and the sums n_masked and n_gated.
        """
        import pandas as pd

        edited = self.table.query("configuration != @CLEAN")
        on = "problem" if "problem" in edited else "text"
        paired = edited.dropna(subset=["effect"])
        named = paired.assign(problem=paired[on].astype(str))
        if named.empty:
            means = pd.DataFrame(columns=["configuration", "n_problems", *ESTIMATES])
        else:
            means = mean_by(named, ["configuration"], columns=NUMBERS, ratios={})
        counts = edited.pivot_table(
            index="configuration", values=["n_masked", "n_gated"], aggfunc="sum"
        ).reset_index()
        words = edited.drop_duplicates(subset=["configuration"])[[*WHAT, *MEASURED]]
        table = words.merge(means.rename(columns={"n_problems": "n"}), on="configuration", how="left")
        return table.merge(counts, on="configuration").fillna({"n": 0}).astype({"n": "int64"})

    @classmethod
    @checked
    def load(cls, path: str | Path) -> SweepTable:
        """Read a finished sweep.

        Raises:
            OutputError: nothing is there, or a sweep that is not finished.
            CorruptFileError: a file is missing or damaged.
        """
        import pandas as pd
        import pyarrow

        path = Path(path).expanduser()
        if not path.is_dir():
            shards = partial_of(path) / SHARDS
            n_done = len(list(shards.glob("*.parquet")))
            state = f"is not finished: {n_done} shards are there" if shards.exists() else "does not exist"
            raise OutputError(
                f"{path} {state}", do="call sweep again with the same out=: it goes on where it was"
            )
        remove_leftovers(path)
        try:
            table = pd.read_parquet(path / TABLE_FILE).rename(columns=OLD_COLUMNS)
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise CorruptFileError(f"{path} is no sweep: {error}", do="run it again") from error
        if missing := [name for name in (*WHAT, *MEASURED, *NUMBERS) if name not in table]:
            raise CorruptFileError(
                f"{path / TABLE_FILE} has no column {', '.join(missing)}", do="run it again"
            )
        return cls(table, read_object(path / RECORD_FILE, do="run it again"))

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        names = self.table["configuration"].nunique() - 1
        return f"SweepTable({names} configurations, {len(self)} cells of {self.table['metric'].iloc[0]!r})"

    def _repr_html_(self) -> str:
        return self.mean.to_html(index=False, float_format="%.3g")


def tidy(
    cells: pd.DataFrame, configurations: Sequence[Configuration], *, on: Sequence[str], metric: str, unit: str
) -> pd.DataFrame:
    """Cells with the words of their configurations and the clean value beside each.

    Args:
        cells: cell, configuration, the columns of `on`, value, n_masked, n_gated; rows "clean" included, in
            any order.
        on: columns that say what a cell was tried on; the clean row has the same.

    Returns:
        Rows in the order of the configurations, the clean ones first.
    """
    import pandas as pd

    words = pd.DataFrame(
        [
            {"configuration": CLEAN, "amount": np.nan, "seed": None, "fingerprint": ""},
            *map(_words, configurations),
        ]
    ).fillna({"axis": "", "site": "", "verb": "", "where": ""})
    words["seed"] = words["seed"].astype("Int64")
    clean = cells.query("configuration == @CLEAN")[[*on, "value"]].set_axis([*on, "clean"], axis=1)
    table = cells.merge(clean, on=list(on), how="left", validate="many_to_one")
    table = table.merge(words, on="configuration", how="left", validate="many_to_one")
    rank = table["configuration"].map({name: i for i, name in enumerate(words["configuration"])}.get)
    table = table.assign(metric=metric, unit=unit, effect=table["value"] - table["clean"], rank=rank)
    columns = [
        *WHAT,
        "fingerprint",
        "cell",
        *on,
        *MEASURED,
        "value",
        "clean",
        "effect",
        "n_masked",
        "n_gated",
    ]
    extra = [name for name in cells if name not in columns]
    return (
        table.sort_values(["rank", *on], kind="stable")
        .reindex(columns=columns + extra)
        .reset_index(drop=True)
    )


def _words(one: Configuration) -> dict[str, object]:
    return {
        "configuration": one.name,
        "axis": one.axis,
        "site": one.site,
        "verb": one.verb,
        "amount": one.amount,
        "where": one.where,
        "seed": one.seed,
        "fingerprint": one.fingerprint,
    }
