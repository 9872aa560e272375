"""The detectors of a behaviour that are worth a reader's time, every search that valued them side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pandas as pd

TOP: Final = 6  # features of a behaviour shown besides the chosen ones; all of them are in features.parquet
SEARCHES: Final = {
    "auroc opportunities base": "AUROC, base text",
    "hazard opportunities base": "gain, nats",
    "auroc boundaries thinking": "all boundaries",
    "auroc opportunities thinking": "thinking text",
    "auroc tokens base": "inside",
}
DRAWN_SEARCHES: Final = {
    "auroc opportunities base": "AUROC among the moments at which it could begin, on the base's own text, "
    "held out.",
    "auroc boundaries thinking": "AUROC among all sentence boundaries of thinking text, held out.",
    "auroc opportunities thinking": "AUROC among the moments at which it could begin, on thinking text, "
    "held out.",
    "auroc tokens base": "AUROC of being inside it, on the base's own text, held out.",
}
NAMES: Final = {
    "diff_mean": "difference of means",
    "probe": "logistic probe",
    "ceiling": "base's own P(onset)",
}


def best_detectors(part: pd.DataFrame) -> pd.DataFrame:
    """Rows of one behaviour: the chosen features, the best others on base text, baselines of their sites."""
    features = part.loc[part.kind == "feature"]
    chosen = features.loc[features.selected, ["coder", "feature"]].drop_duplicates()
    ranked = features.loc[
        (features.among == "opportunities") & (features.source == "base") & (features.score == "auroc")
    ]
    best = ranked.sort_values("train_value", ascending=False).head(TOP)[["coder", "feature"]]
    shown = pd.concat([chosen, best]).drop_duplicates()
    baselines = part.loc[
        part.kind.isin(list(NAMES)) & part.coder.isin(shown.coder), ["coder", "kind", "feature"]
    ]
    detectors = pd.concat([shown.assign(kind="feature"), baselines]).drop_duplicates()
    return part.merge(detectors, on=["coder", "kind", "feature"])


def rows_to_draw(best: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, str]]:
    """The rows of the first search that valued anything, as `feature_table` draws them, and a caption."""
    for search, explanation in DRAWN_SEARCHES.items():
        rows = best.loc[(best.score + " " + best.among + " " + best.source == search) & best.value.notna()]
        if len(rows):
            named = rows.assign(site=rows.coder.where(rows.kind == "feature", rows.site)).drop(
                columns="source"
            )
            yield (
                named.drop_duplicates(["kind", "feature", "site"]),
                f"{rows.behaviour.iloc[0]}: {explanation}",
            )
            return


def against_chance(part: pd.DataFrame) -> str:
    """Whether the chosen features of one behaviour tell it on problems that had no part in choosing them.

    There their null is chance, AUROC 0.5. A feature beats it where its whole interval lies on the side that
    the training problems named.
    """
    features = part.loc[
        (part.kind == "feature") & part.selected & (part.unit == "AUROC") & part.value.notna()
    ]
    sentences = []
    for (score, among, source), rows in features.groupby(["score", "among", "source"], sort=False):
        rows = rows.drop_duplicates(["coder", "feature"])
        beats = (rows.low > 0.5).where(rows.train_value > 0.5, rows.high < 0.5)
        best = rows.loc[(rows.value - 0.5).abs().idxmax()]
        searched = (part.score == score) & (part.among == among) & (part.source == source)
        without = part.loc[searched & part.kind.isin(["diff_mean", "probe"]) & (part.coder == best.coder)]
        beside = "; ".join(f"{NAMES[row.kind]} {_cell(row)}" for _, row in without.iterrows())
        sentences.append(
            f"On held-out problems {int(beats.sum())} of {len(rows)} chosen features beat chance (AUROC 0.5) "
            f"among {among} of {source} text; the farthest from it, feature {best.feature}, has {_cell(best)}"
            + (f", beside {beside}." if beside else ".")
        )
    return " ".join(sentences) or "No feature was chosen: nothing is said on held-out problems."


def _cell(row: pd.Series) -> str:
    return _write_value(row.unit, row.value, row.low, row.high)


def side_by_side(best: pd.DataFrame) -> pd.DataFrame:
    """One row per detector, one column per search ("0.912 [0.88, 0.94]"), the chosen features first."""
    baseline = best.kind != "feature"
    keyed = best.assign(
        detector=[_name(kind, feature) for kind, feature in zip(best.kind, best.feature, strict=True)],
        place=best.coder.where(~baseline, best.site).where(best.kind != "ceiling", "its last layer"),
        search=best.score + " " + best.among + " " + best.source,
        cell=[_write_value(*cells) for cells in zip(best.unit, best.value, best.low, best.high, strict=True)],
    )
    keys = ["kind", "detector", "place", "selected"]
    wide = keyed.pivot_table(index=keys, columns="search", values="cell", aggfunc="first", sort=False)
    rates = keyed.groupby(keys, sort=False).rate.first()
    table = wide.reindex(columns=list(SEARCHES)).astype(object).fillna("\u2013").join(rates).reset_index()
    order = table.kind.map({"feature": 0}).fillna(1)
    return table.assign(order=order).sort_values(
        ["selected", "order"], ascending=[False, True], kind="stable"
    )


def _name(kind: str, feature: int) -> str:
    name = f"feature {feature}" if kind == "feature" else NAMES[kind]
    return name.replace(" ", "\u00a0")  # on one line


def _write_value(unit: str, value: float, low: float, high: float) -> str:
    digits = 2 if unit == "AUROC" else 3
    return "\u2013" if pd.isna(value) else f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
