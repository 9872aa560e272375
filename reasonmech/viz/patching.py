"""Figures of patching: a heatmap of a grid, and the direct and indirect parts of effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reasonmech.door import checked
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.frames import groups
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.theme import GREY, INK, MARKS, PALE, TEMPLATE

Shown: TypeAlias = Literal["normalised", "effect"]

DIVERGING: Final = ((0.0, "#0072B2"), (0.5, "#ffffff"), (1.0, "#D55E00"))
MAX_NUMBERED: Final = 16  # columns of a panel that leave room for a number in every cell
PARTS: Final = ("total", "direct", "indirect")
NAMES: Final = {
    "denoise": "corrupt run, patched from the clean one",
    "noise": "clean run, patched from the corrupt one",
}


@checked
@names_as_text
def patch_heatmap(frame: pd.DataFrame, *, value: Shown = "normalised") -> go.Figure:
    """Effect of patching each site (rows, a panel per kind) at each place (columns), white where it is 0.

    A number (or, where there is no room, a dot) stands in the cells whose 95 % interval excludes 0, and in
    all cells where one problem gives no interval. A grey cell has no value: its gap is 0, or no text has that
    place.

    Args:
        frame: `PatchGrid.mean`, or rows of it.
        value: "normalised" (share of what patching everything would do) or "effect", in the metric's unit.

    Raises:
        DataError: columns are missing, there is nothing to draw, or several metrics or directions are in one
            frame.
    """
    if value not in get_args(Shown):
        raise UnknownNameError("value of a patch heatmap", str(value), get_args(Shown))
    needed = (
        "site",
        "kind",
        "position",
        "metric",
        "unit",
        "direction",
        value,
        f"{value}_low",
        f"{value}_high",
    )
    _check(frame, needed)
    kinds, places = list(dict.fromkeys(frame["kind"])), list(dict.fromkeys(frame["position"].astype(str)))
    columns = min(2, len(kinds))
    rows = -(-len(kinds) // columns)
    tallest = max(frame.groupby("kind")["site"].nunique())
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=kinds if len(kinds) > 1 else None,
        horizontal_spacing=0.12,
        vertical_spacing=min(0.16, 0.4 / rows),
    )
    for number, (_, of_kind) in enumerate(groups(frame, ["kind"])):
        figure.add_trace(_panel(of_kind, places, value), row=number // columns + 1, col=number % columns + 1)
    # 1.0 where every effect is 0: a colour axis from -0 to 0 is drawn as noise
    largest = float(np.nanmax(np.abs(frame[value].to_numpy(np.float64)), initial=0.0)) or 1.0
    metric, unit, direction = (str(frame[name].iloc[0]) for name in ("metric", "unit", "direction"))
    bar = {"title": "share of the gap" if value == "normalised" else unit, "outlinewidth": 0, "thickness": 14}
    axis = {"cmin": -largest, "cmax": largest, "colorscale": DIVERGING, "colorbar": bar}
    figure.update_yaxes(type="category", showgrid=False)
    figure.update_yaxes(title="layer", col=1)
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_xaxes(title="position", row=rows)
    figure.update_annotations(font_color=INK)
    title = f"{metric} · {NAMES[direction]}"
    figure.update_layout(template=TEMPLATE, title=title, height=200 + rows * (60 + 28 * tallest), margin_b=70)
    return figure.update_layout(coloraxis=axis, plot_bgcolor=PALE)


@names_as_text
def effect_parts(frame: pd.DataFrame) -> go.Figure:
    """Total, direct and indirect effect of each patch, with 95 % intervals by problem.

    Args:
        frame: `Effects.mean`, or several of them concatenated.

    Raises:
        DataError: columns are missing, there is nothing to draw, or several metrics or directions are in one
            frame.
    """
    needed = (
        "site",
        "position",
        "metric",
        "unit",
        "direction",
        *(p + end for p in PARTS for end in ("", "_low", "_high")),
    )
    _check(frame, needed)
    labels = [f"{site} · {position}" for site, position in zip(frame["site"], frame["position"], strict=True)]
    figure = go.Figure()
    for part, mark, shift in zip(PARTS, MARKS, (0.22, 0.0, -0.22), strict=False):
        ends = {side: (frame[f"{part}_{side}"] - frame[part]).abs() for side in ("low", "high")}
        figure.add_trace(
            go.Scatter(
                x=frame[part],
                y=[len(labels) - 1 - i + shift for i in range(len(labels))],
                error_x={
                    "type": "data",
                    "array": ends["high"],
                    "arrayminus": ends["low"],
                    "color": mark.colour,
                },
                mode="markers",
                marker={"symbol": mark.symbol, "size": 11, "color": mark.colour},
                name=part,
                customdata=list(zip(labels, frame[f"{part}_low"], frame[f"{part}_high"], strict=True)),
                hovertemplate="%{customdata[0]}: %{x:.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]",
            )
        )
    figure.add_vline(x=0.0, line={"color": GREY, "dash": "dot", "width": 1.5})
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=labels[::-1], showgrid=False, zeroline=False
    )
    metric, unit, direction = (str(frame[name].iloc[0]) for name in ("metric", "unit", "direction"))
    figure.update_xaxes(title=f"change of {metric}, {unit}")
    return figure.update_layout(template=TEMPLATE, title=NAMES[direction], height=220 + 60 * len(labels))


def _panel(rows: pd.DataFrame, places: Sequence[str], value: Shown) -> go.Heatmap:
    sites = list(dict.fromkeys(rows["site"]))
    at = {"index": rows["site"], "columns": rows["position"].astype(str)}
    tables = {}
    for name in (value, f"{value}_low", f"{value}_high"):
        cells = pd.Series(rows[name].to_numpy(np.float64), index=[at["index"], at["columns"]])
        tables[name] = cells.unstack().reindex(index=sites, columns=list(places)).to_numpy()
    z, low, high = tables.values()
    # NaN ends (one problem, hence no interval) compare as false, so that such cells are marked too
    marked = np.isfinite(z) & ~((low <= 0) & (high >= 0))
    has_room = len(places) <= MAX_NUMBERED
    text = [
        [(f"{v:.2f}" if has_room else "•") if mark else "" for v, mark in zip(*line, strict=True)]
        for line in zip(z, marked, strict=True)
    ]
    return go.Heatmap(
        z=z,
        x=list(places),
        y=[site.partition(".")[2] for site in sites],
        text=text,
        texttemplate="%{text}",
        customdata=np.stack([low, high, np.broadcast_to(np.array(sites)[:, None], z.shape)], axis=-1),
        hovertemplate="%{customdata[2]} at %{x}: %{z:.3f} [%{customdata[0]:.3f}, "
        "%{customdata[1]:.3f}]<extra></extra>",
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
    )


def _check(frame: pd.DataFrame, needed: Sequence[str]) -> None:
    if missing := [name for name in needed if name not in frame]:
        raise DataError(f"the figure needs columns {', '.join(missing)}", allowed=", ".join(needed))
    if frame.empty:
        raise DataError("the figure has no rows to draw", do="check the filter that made this frame")
    if (n_kinds := len(frame[["metric", "direction"]].drop_duplicates())) > 1:
        raise DataError(f"{n_kinds} metrics and directions in one figure", do="draw one figure for each")
