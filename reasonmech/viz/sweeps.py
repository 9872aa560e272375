"""Figures of sweeps: effect against amount, and a map of axes and amounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reasonmech.errors import DataError
from reasonmech.frames import groups
from reasonmech.viz.patching import DIVERGING
from reasonmech.viz.theme import CONTROL, GREY, INK, MARKS, PALE, TEMPLATE, Mark, tint

NEEDED: Final = (
    "axis",
    "verb",
    "amount",
    "where",
    "seed",
    "metric",
    "unit",
    "effect",
    "effect_low",
    "effect_high",
)
MAX_LINES: Final = len(MARKS)
MAX_NUMBERED: Final = 14  # columns of a panel that leave room for a number in every cell
MAX_COLUMNS: Final = 2


def sweep_curves(frame: pd.DataFrame) -> go.Figure:
    """Change of the metric against the amount, one line per axis with its 95 % interval, one panel per mask.

    Axes whose name begins with "random" are drawn as controls, one line per seed.

    Args:
        frame: `SweepTable.mean`, or rows of it: one verb and metric, at most six axes that are no controls.

    Raises:
        DataError: columns are missing, nothing to draw, several verbs or metrics, or too many axes to tell
            apart.
    """
    _check(frame)
    own = [axis for axis in dict.fromkeys(frame["axis"]) if not _is_control(axis)]
    if len(own) > MAX_LINES:
        raise DataError(
            f"{len(own)} axes in one figure of lines",
            allowed=f"at most {MAX_LINES}",
            do="draw sweep_map, or fewer",
        )
    places = list(dict.fromkeys(frame["where"]))
    figure = make_subplots(
        rows=1, cols=len(places), shared_yaxes=True, subplot_titles=places, horizontal_spacing=0.04
    )
    shown: set[str] = set()
    for (where, axis, _), rows in groups(frame.fillna({"seed": -1}), ["where", "axis", "seed"]):
        mark, name = (CONTROL, "random") if _is_control(axis) else (MARKS[own.index(axis)], str(axis))
        for trace in _curve(rows.sort_values(by="amount"), mark, name=name, legend=name not in shown):
            figure.add_trace(trace, row=1, col=places.index(where) + 1)
        shown.add(name)
    verb, metric, unit = (str(frame[name].iloc[0]) for name in ("verb", "metric", "unit"))
    figure.add_hline(y=0.0, line={"color": GREY, "dash": "dot", "width": 1.5})
    figure.update_yaxes(title=f"change of {metric}, {unit}", col=1)
    figure.update_xaxes(title=f"{verb} (units of the axis)")
    return _finish(figure, f"{metric} · effect of {verb}, 95 % intervals", height=460)


def sweep_map(frame: pd.DataFrame) -> go.Figure:
    """Change of the metric for every axis (rows) and amount (columns), one panel per mask, symmetric about 0.

    A number (or, where there is no room, a dot) stands in the cells whose 95 % interval excludes 0. A cell
    without colour was not measured.

    Args:
        frame: `SweepTable.mean`, or rows of it: one verb and metric.

    Raises:
        DataError: columns are missing, nothing to draw, or several verbs or metrics, or two numbers for one
            cell.
    """
    _check(frame)
    seeds = frame["seed"].map(lambda seed: "" if pd.isna(seed) else f" · seed {seed}")
    given = frame["amount"].map(lambda amount: "" if np.isnan(amount) else f"{amount:g}")
    frame = frame.assign(row=frame["axis"] + seeds, column=given)
    if bool(frame.duplicated(subset=["row", "column", "where"]).any()):
        raise DataError(
            "two configurations of one axis, amount and mask", do="filter the frame, or rename the axes"
        )
    names = list(dict.fromkeys(frame["row"]))
    amounts = list(dict.fromkeys(frame.sort_values(by="amount")["column"]))
    places = list(dict.fromkeys(frame["where"]))
    columns = min(MAX_COLUMNS, len(places))
    n_rows = -(-len(places) // columns)
    figure = make_subplots(
        rows=n_rows,
        cols=columns,
        subplot_titles=places,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        vertical_spacing=min(0.16, 0.4 / n_rows),
    )
    for number, (_, some) in enumerate(groups(frame, ["where"])):
        trace = _panel(some, names, amounts)
        figure.add_trace(trace, row=number // columns + 1, col=number % columns + 1)
    largest = float(np.nanmax(np.abs(frame["effect"].to_numpy(np.float64)), initial=0.0)) or 1.0
    verb, metric, unit = (str(frame[name].iloc[0]) for name in ("verb", "metric", "unit"))
    bar = {"title": unit, "outlinewidth": 0, "thickness": 14}
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_xaxes(title=f"{verb} (units of the axis)", row=n_rows)
    height = 200 + n_rows * (60 + 26 * len(names))
    return _finish(figure, f"{metric} · effect of {verb}", height=height).update_layout(
        coloraxis={"cmin": -largest, "cmax": largest, "colorscale": DIVERGING, "colorbar": bar}, margin_b=70
    )


def _check(frame: pd.DataFrame) -> None:
    if missing := [name for name in NEEDED if name not in frame]:
        raise DataError(
            f"the figure needs columns {', '.join(missing)}", allowed="SweepTable.mean, or rows of it"
        )
    if frame.empty:
        raise DataError("the figure has no rows to draw", do="check the filter that made this frame")
    for name in ("verb", "metric"):
        found = sorted(set(frame[name]))
        if len(found) > 1:
            raise DataError(f"{', '.join(found)} in one figure", do=f"filter the frame to one {name}")


def _is_control(axis: str) -> bool:
    return axis.startswith("random")


def _curve(rows: pd.DataFrame, mark: Mark, *, name: str, legend: bool) -> list[go.Scatter]:
    low, high = (rows[f"effect_{end}"].fillna(rows["effect"]) for end in ("low", "high"))
    quiet = {"hoverinfo": "skip", "showlegend": False, "legendgroup": name}
    outline = {"x": [*rows["amount"], *rows["amount"][::-1]], "y": [*high, *low[::-1]]}
    band = go.Scatter(
        outline, fill="toself", fillcolor=tint(mark.colour, 0.15), mode="lines", line={"width": 0}, **quiet
    )
    line = go.Scatter(
        x=rows["amount"],
        y=rows["effect"],
        mode="lines+markers",
        line={"color": mark.colour, "dash": mark.dash, "width": 2.5},
        marker={"symbol": mark.symbol, "size": 9, "color": mark.colour},
        name=name,
        legendgroup=name,
        showlegend=legend,
        customdata=rows[["effect_low", "effect_high"]],
        hovertemplate="%{x:g}: %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]",
    )
    return [band, line]


def _panel(rows: pd.DataFrame, names: Sequence[str], amounts: Sequence[str]) -> go.Heatmap:
    tables = []
    for column in ("effect", "effect_low", "effect_high"):
        cells = pd.Series(rows[column].to_numpy(np.float64), index=[rows["row"], rows["column"]])
        tables.append(cells.unstack().reindex(index=list(names), columns=list(amounts)).to_numpy())
    z, low, high = tables
    sure = np.isfinite(z) & ~((low <= 0) & (high >= 0))
    room = len(amounts) <= MAX_NUMBERED
    text = [
        [(f"{v:.2f}" if room else "•") if s else "" for v, s in zip(*line, strict=True)]
        for line in zip(z, sure, strict=True)
    ]
    return go.Heatmap(
        z=z,
        x=list(amounts),
        y=list(names),
        text=text,
        texttemplate="%{text}",
        customdata=np.dstack([low, high]),
        hovertemplate="%{y} at %{x}: %{z:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]<extra></extra>",
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
    )


def _finish(figure: go.Figure, title: str, *, height: int) -> go.Figure:
    figure.update_annotations(font_color=INK)
    figure.update_xaxes(showline=True, linecolor=PALE)
    return figure.update_layout(template=TEMPLATE, title=title, height=height)
