"""FeatureTable: what a search found, one detector per row, baselines beside the features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from reasonmech.arguments import as_sequence, check_type
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.files import load_table, save_table
from reasonmech.frames import rows_where
from reasonmech.interventions import Features
from reasonmech.locate.rows.checks import SEARCH, check_is_coder
from reasonmech.ranges import Positive, Share
from reasonmech.stats import bh

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder

COLUMNS: Final = {
    "behaviour": "what is detected",
    "mode": "anticipates (read strictly before the span) or recognises (inside it)",
    "site": "where activations were read",
    "kind": "feature, or a baseline: diff_mean, probe, ceiling",
    "feature": "index in the coder, -1 for a baseline",
    "score": "what value is: auroc, hazard, cohen_d, reason_score, attribution, nu or a registered kind",
    "unit": "of value, low, high and train_value",
    "value": "on held-out problems; NaN for a feature outside the top of the training split",
    "low": "lower end of the 95 % interval of value, by problem",
    "high": "its upper end",
    "train_value": "on the problems it was chosen on, so optimistic; what select() ranks by; NaN for a "
    "baseline",
    "sign": "1 where the behaviour goes with activity, -1 where with silence",
    "p": "two-sided, clustered by problem, on the training split",
    "p_adjusted": "over all features searched: Benjamini-Hochberg (of every search in the table) or max-T "
    "(of one)",
    "rate": "share of labelled rows on which it fires",
    "mean_active": "mean activation where it fires, in the coder's activation units",
    "n_pos": "positive rows held out",
    "n_neg": "negative rows held out",
    "n_problems": "problems held out",
}
MARKS: Final = {
    "definition": "functional (the behaviour is what a sentence does), lexical (its words) or by hand",
    "n_spans": "positive spans, training and held-out: onsets, or runs of tokens inside the behaviour",
    "exploratory": "fewer than 30 positive spans: look, but claim nothing",
    "correction": "how p_adjusted was computed: bh or max_t",
}


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """A search's result.

    Attributes:
        frame: one row per detector with the columns of `COLUMNS`; a table that a search made has those of
            `MARKS` too.
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        if missing := [name for name in COLUMNS if name not in self.frame]:
            raise DataError(f"a feature table without {', '.join(missing)}", allowed=", ".join(COLUMNS))

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def concat(cls, tables: Sequence[FeatureTable]) -> FeatureTable:
        """One table of several sites or behaviours; p-values are corrected again, over all of their features.

        Raises:
            DataError: no table, or one corrected by max-T, which needs the draws of all searches at once.
        """
        tables = as_sequence(tables, cls, name="tables", allowed="tables of `locate`")
        if not tables:
            raise DataError("no feature tables to join", do="give at least one")
        if len(tables) > 1 and any(
            "correction" in t.frame and t.frame["correction"].eq("max_t").any() for t in tables
        ):
            raise DataError(
                "max-T corrects one search: its p-values can't be corrected again over several",
                do='locate with Search(correction="bh"), or report the tables one by one',
            )
        return cls(with_adjusted(pd.concat([table.frame for table in tables], ignore_index=True)))

    @checked
    def top(self, k: Positive = 5, *, behaviour: str | None = None) -> FeatureTable:
        """The k best features of each behaviour, mode and site, with every baseline beside them.

        Ranked as `locate` ranks: those that go with the behaviour (sign 1) first, then by training value.
        """
        frame = (self.frame if behaviour is None else self.of(behaviour).frame).reset_index(drop=True)
        best = frame.take(np.lexsort((-frame["train_value"], frame["sign"] <= 0)))
        rank = best.groupby(["behaviour", "mode", "site", "kind"], sort=False).cumcount().reindex(frame.index)
        shown = rows_where(frame, (frame["kind"] != "feature") | ((rank < k) & frame["value"].notna()))
        order = np.lexsort((-shown["value"], shown["site"], shown["mode"], shown["behaviour"]))
        return FeatureTable(shown.take(order))

    @checked
    def of(self, behaviour: str) -> FeatureTable:
        """Rows of one behaviour. Raises DataError when it was not searched for."""
        rows = rows_where(self.frame, self.frame["behaviour"] == behaviour)
        if rows.empty:
            known = ", ".join(sorted(self.frame.behaviour.unique()))
            raise DataError(f"no row of behaviour {behaviour!r} in this table", allowed=known)
        return FeatureTable(rows)

    @checked
    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write parquet. Raises OutputError where there is a file, unless it is to go."""
        save_table(self.frame, path, overwrite=overwrite)

    @classmethod
    @checked
    def load(cls, path: str | Path) -> FeatureTable:
        """Read what `save` wrote. Raises CorruptFileError when the file is damaged."""
        return load_table(path, cls, what="a feature table", do="locate again")

    def __repr__(self) -> str:
        frame = self.frame
        n_features = len(rows_where(frame, frame["kind"] == "feature"))
        searched = ", ".join(
            f"{score} of {behaviour} at {site}"
            for score, behaviour, site in dict.fromkeys(
                zip(frame["score"], frame["behaviour"], frame["site"], strict=True)
            )
        )
        return f"FeatureTable({n_features} features, {len(self) - n_features} baselines: {searched})"

    def _repr_html_(self) -> str:
        return self.top().frame.drop(columns=["unit", "p"]).to_html(index=False, float_format="%.3g")


def with_adjusted(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with `p_adjusted` over all its feature rows (baselines are not part of the search)."""
    searched = frame.kind.eq("feature").to_numpy()
    p_adjusted = np.full(len(frame), np.nan)
    p_adjusted[searched] = bh(frame.p.to_numpy(np.float64)[searched])
    return frame.assign(p_adjusted=p_adjusted)


@checked
def select(
    table: FeatureTable,
    k: Positive,
    *,
    coder: SparseCoder,
    behaviour: str | None = None,
    alpha: Share = 0.05,
) -> Features:
    """The k features that best go *with* a behaviour on the training split, at the coder's site.

    Held-out values play no part, so what they say of the chosen group stays honest.

    Args:
        behaviour: which one, where the table holds several.
        alpha: false-discovery rate that a chosen feature has to pass.

    Raises:
        ArgumentError: an argument is of the wrong type.
        DataError: the table holds several behaviours and none is named, or fewer than k features pass.
    """
    check_type(table, FeatureTable, name="table", allowed="a table of `locate`", do=SEARCH)
    check_type(
        k, (int, np.integer), name="k", allowed="how many features", do="rm.select(table, 8, coder=coder)"
    )
    check_is_coder(coder)
    frame = table.frame if behaviour is None else table.of(behaviour).frame
    if frame[["behaviour", "mode"]].drop_duplicates().shape[0] > 1:
        names = {f"{b} ({m})" for b, m in zip(frame.behaviour, frame["mode"], strict=True)}
        raise DataError(
            f"the table holds several searches: {', '.join(sorted(names))}", do="name one behaviour"
        )
    at_site = rows_where(frame, (frame["kind"] == "feature") & (frame["site"] == str(coder.site)))
    passing = rows_where(at_site, (at_site["sign"] > 0) & (at_site["p_adjusted"] <= alpha))
    passing = passing.sort_values(by="train_value", ascending=False)
    if len(passing) < k:
        fewer = f"ask for {len(passing)}, " if len(passing) else ""
        raise DataError(
            f"{len(passing)} of {len(at_site)} features at {coder.site} go with the behaviour at a "
            f"false-discovery rate of {alpha:g}; {k} were asked for",
            do=f"{fewer}use more problems, or search another site",
        )
    return Features(coder, tuple(int(i) for i in passing["feature"][:k]))
