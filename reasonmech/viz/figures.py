"""Figures from tidy tables: every estimate is drawn with its interval, every effect beside its control.

They compute nothing: numbers come with their intervals. Each returns a plotly figure, in the notebook or
`figure.to_html(include_plotlyjs="inline")` for a file that opens offline.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reasonmech.errors import DataError
from reasonmech.frames import groups, rows_where
from reasonmech.viz.theme import CONTROL, GREY, INK, MARKS, PALE, TEMPLATE, Mark, tint

KIND_MARKS = {
    "feature": MARKS[0],
    "diff_mean": MARKS[2],
    "probe": MARKS[4],
    "ceiling": Mark(INK, "line-ns-open", "solid"),
}
KIND_NAMES = {
    "diff_mean": "difference of means",
    "probe": "logistic probe",
    "ceiling": "model's own next-token probability",
}
NULL_VALUE = {"AUROC": 0.5}
GUIDE = {"color": GREY, "dash": "dot", "width": 1.5}


def recovery_by_arm(frame: pd.DataFrame) -> go.Figure:
    """Share of the gap between base (0 %) and thinking model (100 %) that each arm recovers.

    Args:
        frame: one row per arm: arm, estimate, low, high (shares; infinite where unbounded), steered (share of
            model-chosen tokens). Arms named random_... are drawn as controls, takeover as the ceiling.
    """
    frame = _checked(frame, ("arm", "estimate", "low", "high", "steered")).iloc[::-1]
    figure = go.Figure()
    for x, name in ((0.0, "base"), (1.0, "thinking")):
        figure.add_vline(x=x, line=GUIDE, annotation_text=name, annotation_position="top")
    for role, mark in (("hybrid", MARKS[0]), ("ceiling", MARKS[2]), ("random control", CONTROL)):
        rows = rows_where(frame, [_role(arm) == role for arm in frame["arm"]])
        if len(rows):
            figure.add_trace(_points(rows, "arm", mark, name=role))
    finite = frame[["estimate", "low", "high"]].to_numpy(np.float64)
    finite = finite[np.isfinite(finite)]
    for arm, estimate, low, high, steered in frame[["arm", "estimate", "low", "high", "steered"]].itertuples(
        index=False
    ):
        interval = f"[{low:.0%}, {high:.0%}]" if np.isfinite([low, high]).all() else "[unbounded]"
        text = f"<b>{estimate:.0%}</b> {interval} · {steered:.1%} steered"
        figure.add_annotation(x=1.01, xref="paper", y=arm, text=text, showarrow=False, xanchor="left")
    figure.update_xaxes(title="gap recovered, 95 % interval by problem", tickformat=".0%")
    figure.update_xaxes(range=[min(0.0, *finite) - 0.04, max(1.0, *finite) + 0.04])
    figure.update_yaxes(categoryorder="array", categoryarray=list(frame["arm"]))
    return _finish(figure, "Gap recovered by arm", height=230 + 40 * len(frame)).update_layout(margin_r=280)


def dose_curves(frame: pd.DataFrame, *, dose: str = "clamped to (activation units)") -> go.Figure:
    """Rate of each behaviour against the clamped value: located features beside matched random ones.

    Args:
        frame: behaviour, place (panel column, such as "at opportunities"), arm, dose, value, low, high
            (shares). Arms whose name begins with "random" are drawn as controls.
        dose: what the dose is, with its unit.
    """
    frame = _checked(frame, ("behaviour", "place", "arm", "dose", "value", "low", "high"))
    behaviours, places = _appearing(frame, "behaviour"), _appearing(frame, "place")
    figure = make_subplots(
        rows=len(behaviours),
        cols=len(places),
        shared_xaxes=True,
        shared_yaxes=True,
        subplot_titles=[f"{behaviour} · {place}" for behaviour in behaviours for place in places],
        vertical_spacing=0.12 if len(behaviours) < 4 else 0.06,
        horizontal_spacing=0.04,
    )
    marks = _arm_marks(_appearing(frame, "arm"))
    shown: set[str] = set()
    for (behaviour, place, arm), rows in groups(frame, ["behaviour", "place", "arm"]):
        name = "random, matched" if _is_control(arm) else arm
        row, col = behaviours.index(behaviour) + 1, places.index(place) + 1
        for trace in _band(rows.sort_values(by="dose"), marks[arm], name=name, legend=name not in shown):
            figure.add_trace(trace, row=row, col=col)
        shown.add(name)
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    figure.update_yaxes(title="behaviour begins", col=1)
    figure.update_xaxes(title=dose, row=len(behaviours))
    return _finish(figure, "Dose and response, 95 % intervals by problem", height=220 + 240 * len(behaviours))


def feature_table(frame: pd.DataFrame) -> go.Figure:
    """Held-out value of located features with 95 % intervals, baselines in the same panel.

    Args:
        frame: a `FeatureTable`'s frame, best `table.top(5).frame`; rows without a held-out value are left
            out. A column `source` (which text), where there is one, is part of the label.
    """
    needed = ("behaviour", "mode", "site", "kind", "feature", "unit", "value", "low", "high")
    frame = _checked(frame, needed).dropna(subset=["value"])
    named = ["kind", "feature", "site"] + (["source"] if "source" in frame else [])
    panels = list(groups(frame, ["behaviour", "mode"]))
    heights = [len(rows) + 1 for _, rows in panels]
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        row_heights=heights,
        subplot_titles=[f"{behaviour} · {mode}" for (behaviour, mode), _ in panels],
        vertical_spacing=min(0.12, 0.6 / max(len(panels) - 1, 1) * 0.3),
    )
    shown: set[str] = set()
    for row, (_, rows) in enumerate(panels, start=1):
        rows = rows.sort_values(by="value")
        keys = rows[named].itertuples(index=False)
        rows = rows.assign(label=[_detector(*key) for key in keys])
        for kind, mark in KIND_MARKS.items():
            some = rows_where(rows, rows["kind"] == kind).assign(estimate=lambda found: found["value"])
            if len(some):
                name = KIND_NAMES.get(kind, "SAE feature")
                trace = _points(some, "label", mark, name=name, legend=kind not in shown)
                figure.add_trace(trace, row=row, col=1)
                shown.add(kind)
        null = NULL_VALUE.get(str(rows["unit"].iloc[0]), 0.0)
        figure.add_vline(x=null, line=GUIDE, row=row, col=1)  # pyright: ignore[reportArgumentType]
        figure.update_yaxes(categoryorder="array", categoryarray=list(rows["label"]), row=row, col=1)
    units = ", ".join(_appearing(frame, "unit"))
    figure.update_xaxes(matches="x")
    figure.update_xaxes(title=f"{units} on held-out problems (dotted: chance)", row=len(panels), col=1)
    behaviours = _appearing(frame, "behaviour")
    title = f"Detectors of {behaviours[0]}" if len(behaviours) == 1 else "Detectors of each behaviour"
    return _finish(figure, title, height=210 + 28 * sum(heights) + 30 * len(panels))


def value_by_site(frame: pd.DataFrame) -> go.Figure:
    """Best feature of each site (chosen on the training split) and every baseline, across sites.

    Args:
        frame: a `FeatureTable`'s frame over several sites, one behaviour and mode.
    """
    needed = ("behaviour", "mode", "site", "kind", "unit", "value", "low", "high", "train_value")
    frame = _checked(frame, needed).dropna(subset=["value"])
    if len(found := frame[["behaviour", "mode"]].drop_duplicates()) > 1:
        raise DataError(
            f"{len(found)} searches in one figure", do="filter the frame to one behaviour and mode"
        )
    rank = frame.groupby(["site", "kind"])["train_value"].rank(ascending=False, method="first")
    best = rows_where(frame, (frame["kind"] != "feature") | (rank == 1)).assign(
        estimate=lambda found: found["value"]
    )
    figure = go.Figure()
    for kind, mark in KIND_MARKS.items():
        rows = rows_where(best, best["kind"] == kind)
        if len(rows):
            name = KIND_NAMES.get(kind, "best SAE feature")
            trace = _points(rows, "site", mark, name=name, across=True)
            figure.add_trace(
                trace.update(mode="lines+markers", line={"color": mark.colour, "dash": mark.dash})
            )
    unit = str(best["unit"].iloc[0])
    figure.add_hline(y=NULL_VALUE.get(unit, 0.0), line=GUIDE)
    figure.update_yaxes(title=f"{unit}, held out")
    figure.update_xaxes(title="site", categoryorder="array", categoryarray=_appearing(frame, "site"))
    return _finish(figure, f"{best['behaviour'].iloc[0]} · {best['mode'].iloc[0]}, by site", height=420)


def _checked(frame: pd.DataFrame, needed: Sequence[str]) -> pd.DataFrame:
    if missing := [name for name in needed if name not in frame]:
        raise DataError(f"the figure needs columns {', '.join(missing)}", allowed=", ".join(needed))
    if frame.empty:
        raise DataError("the figure has no rows to draw", do="check the filter that made this frame")
    return frame


def _appearing(frame: pd.DataFrame, column: str) -> list[str]:
    """The different values of a column, in order of appearance."""
    return list(dict.fromkeys(frame[column].astype(str)))


def _is_control(arm: str) -> bool:
    return arm.startswith("random")


def _role(arm: str) -> str:
    return "random control" if _is_control(arm) else "ceiling" if arm == "takeover" else "hybrid"


def _arm_marks(arms: Sequence[str]) -> dict[str, Mark]:
    own = [arm for arm in arms if not _is_control(arm)]
    return {arm: CONTROL if _is_control(arm) else MARKS[own.index(arm) % len(MARKS)] for arm in arms}


def _detector(kind: str, feature: int, *where: str) -> str:
    return " · ".join([f"feature {feature}" if kind == "feature" else KIND_NAMES.get(kind, kind), *where])


def _points(
    rows: pd.DataFrame, label: str, mark: Mark, *, name: str, legend: bool = True, across: bool = False
) -> go.Scatter:
    """Estimates with asymmetric error bars, along y (or, `across`, along x); an infinite end is drawn without
    a bar."""
    ends = {side: (rows[side] - rows["estimate"]).abs().replace(np.inf, 0.0) for side in ("low", "high")}
    bars = {"type": "data", "array": ends["high"], "arrayminus": ends["low"], "thickness": 2, "width": 5}
    values, position = ("y", "x") if across else ("x", "y")
    return go.Scatter(
        {
            values: rows["estimate"],
            position: list(rows[label]),
            f"error_{values}": bars | {"color": mark.colour},
        },
        mode="markers",
        marker={
            "symbol": mark.symbol,
            "size": 11,
            "color": mark.colour,
            "line": {"width": 2, "color": mark.colour},
        },
        name=name,
        showlegend=legend,
        legendgroup=name,
        customdata=rows[["low", "high"]],
        hovertemplate=f"%{{{position}}}: %{{{values}:.3f}} [%{{customdata[0]:.3f}}, %{{customdata[1]:.3f}}]",
    )


def _band(rows: pd.DataFrame, mark: Mark, *, name: str, legend: bool) -> list[go.Scatter]:
    outline = {"x": [*rows.dose, *rows.dose[::-1]], "y": [*rows.high, *rows.low[::-1]]}
    quiet = {"hoverinfo": "skip", "showlegend": False, "legendgroup": name}
    band = go.Scatter(
        outline, fill="toself", fillcolor=tint(mark.colour, 0.15), mode="lines", line={"width": 0}, **quiet
    )
    line = go.Scatter(
        x=rows.dose,
        y=rows.value,
        mode="lines+markers",
        line={"color": mark.colour, "dash": mark.dash, "width": 2.5},
        marker={"symbol": mark.symbol, "size": 9, "color": mark.colour},
        name=name,
        legendgroup=name,
        showlegend=legend,
        customdata=rows[["low", "high"]],
        hovertemplate="%{x:g}: %{y:.1%} [%{customdata[0]:.1%}, %{customdata[1]:.1%}]",
    )
    return [band, line]


def _finish(figure: go.Figure, title: str, *, height: int) -> go.Figure:
    figure.update_annotations(font_color=INK)
    figure.update_xaxes(showline=True, linecolor=PALE)
    return figure.update_layout(template=TEMPLATE, title=title, height=height)
