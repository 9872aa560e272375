"""Figures of detectors: located features beside baselines, by label and by site."""

from __future__ import annotations

from typing import Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reasonmech.behaviours import defined
from reasonmech.errors import DataError
from reasonmech.frames import groups, rows_where
from reasonmech.viz.drawing import check_frame, draw_points, finish, values_in_order
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.theme import GUIDE, INK, MARKS, Mark

KIND_MARKS: Final = {
    "feature": MARKS[0],
    "diff_mean": MARKS[2],
    "probe": MARKS[4],
    "ceiling": Mark(INK, "line-ns-open", "solid"),
}
KIND_NAMES: Final = {
    "diff_mean": "difference of means",
    "probe": "logistic probe",
    "ceiling": "model's own next-token probability",
}
NULL_VALUE: Final = {"AUROC": 0.5}  # of every other unit it is 0


@names_as_text
def feature_table(frame: pd.DataFrame) -> go.Figure:
    """Held-out value of located features with 95 % intervals, baselines in the same panel.

    Args:
        frame: a `FeatureTable`'s frame, best `table.top(5).frame`; rows without a held-out value are left
            out. A column `source` (which text), where there is one, is part of the label.

    Raises:
        DataError: a column is missing, or there is no row.
    """
    needed = ("behaviour", "mode", "site", "kind", "feature", "unit", "value", "low", "high")
    frame = check_frame(frame, needed).dropna(subset=["value"])
    named = ["kind", "feature", "site"] + (["source"] if "source" in frame else [])
    panels = list(groups(frame, ["behaviour", "mode"]))
    heights = [len(rows) + 1 for _, rows in panels]
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        row_heights=heights,
        subplot_titles=[f"{defined(behaviour)} · {mode}" for (behaviour, mode), _ in panels],
        vertical_spacing=min(0.12, 0.6 / max(len(panels) - 1, 1) * 0.3),
    )
    in_legend: set[str] = set()
    for row, (_, rows) in enumerate(panels, start=1):
        rows = rows.sort_values(by="value")
        keys = rows[named].itertuples(index=False)
        rows = rows.assign(label=[_detector(*key) for key in keys])
        for kind, mark in KIND_MARKS.items():
            detectors = rows_where(rows, rows["kind"] == kind).assign(estimate=lambda part: part["value"])
            if len(detectors):
                name = KIND_NAMES.get(kind, "SAE feature")
                trace = draw_points(detectors, "label", mark, name=name, legend=kind not in in_legend)
                figure.add_trace(trace, row=row, col=1)
                in_legend.add(kind)
        null = NULL_VALUE.get(str(rows["unit"].iloc[0]), 0.0)
        figure.add_vline(x=null, line=GUIDE, row=row, col=1)  # pyright: ignore[reportArgumentType]
        figure.update_yaxes(categoryorder="array", categoryarray=list(rows["label"]), row=row, col=1)
    units = ", ".join(values_in_order(frame, "unit"))
    figure.update_xaxes(matches="x")
    figure.update_xaxes(title=f"{units} on held-out problems (dotted: chance)", row=len(panels), col=1)
    behaviours = values_in_order(frame, "behaviour")
    title = (
        f"Detectors of {defined(behaviours[0])}" if len(behaviours) == 1 else "Detectors of each behaviour"
    )
    return finish(figure, title, height=210 + 28 * sum(heights) + 30 * len(panels))


@names_as_text
def value_by_site(frame: pd.DataFrame) -> go.Figure:
    """Best feature of each site (chosen on the training split) and every baseline, across sites.

    Args:
        frame: a `FeatureTable`'s frame over several sites, one behaviour and mode.

    Raises:
        DataError: a column is missing, there is no row, or several behaviours or modes are in one frame.
    """
    needed = ("behaviour", "mode", "site", "kind", "unit", "value", "low", "high", "train_value")
    frame = check_frame(frame, needed).dropna(subset=["value"])
    if len(searches := frame[["behaviour", "mode"]].drop_duplicates()) > 1:
        raise DataError(
            f"{len(searches)} searches in one figure", do="filter the frame to one behaviour and mode"
        )
    # by the training split: the best of the held-out values would be the luckiest
    rank = frame.groupby(["site", "kind"])["train_value"].rank(ascending=False, method="first")
    best = rows_where(frame, (frame["kind"] != "feature") | (rank == 1)).assign(
        estimate=lambda part: part["value"]
    )
    figure = go.Figure()
    for kind, mark in KIND_MARKS.items():
        rows = rows_where(best, best["kind"] == kind)
        if len(rows):
            name = KIND_NAMES.get(kind, "best SAE feature")
            trace = draw_points(rows, "site", mark, name=name, across=True)
            figure.add_trace(
                trace.update(mode="lines+markers", line={"color": mark.colour, "dash": mark.dash})
            )
    unit = str(best["unit"].iloc[0])
    figure.add_hline(y=NULL_VALUE.get(unit, 0.0), line=GUIDE)
    figure.update_yaxes(title=f"{unit}, held out")
    figure.update_xaxes(title="site", categoryorder="array", categoryarray=values_in_order(frame, "site"))
    return finish(
        figure, f"{defined(best['behaviour'].iloc[0])} · {best['mode'].iloc[0]}, by site", height=420
    )


def _detector(kind: str, feature: int, *where: str) -> str:
    return " · ".join([f"feature {feature}" if kind == "feature" else KIND_NAMES.get(kind, kind), *where])
