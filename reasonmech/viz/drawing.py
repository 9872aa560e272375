"""What figures share: checks of a frame, curves with their bands, points with error bars, one finish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reasonmech.errors import DataError
from reasonmech.viz.theme import INK, PALE, TEMPLATE, Mark, tint


class Curve(NamedTuple):
    """One curve with its interval.

    Attributes:
        x, y, low, high: [point]; an interval of NaN is not drawn.
    """

    name: str
    mark: Mark
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


def check_frame(frame: pd.DataFrame, needed: Sequence[str], *, allowed: str = "") -> pd.DataFrame:
    """`frame`, if it has the columns that a figure needs and a row to draw.

    Args:
        allowed: where such a frame comes from; without it, the names of the columns.

    Raises:
        DataError: a column is missing, or there is no row.
    """
    if missing := [name for name in needed if name not in frame]:
        raise DataError(
            f"the figure needs columns {', '.join(missing)}", allowed=allowed or ", ".join(needed)
        )
    if frame.empty:
        raise DataError("the figure has no rows to draw", do="check the filter that made this frame")
    return frame


def values_in_order(frame: pd.DataFrame, column: str) -> list[str]:
    """The different values of a column, in order of appearance."""
    return list(dict.fromkeys(frame[column].astype(str)))


def is_control(name: str) -> bool:
    """Whether an arm or an axis is drawn as a control: its name begins with "random"."""
    return name.startswith("random")


def draw_curve(curve: Curve, *, hover: str, legend: bool = True) -> list[go.Scatter]:
    """The band of a curve, and its line with markers.

    Args:
        hover: what is said of a point; `customdata` holds its interval.
        legend: whether the legend names it.
    """
    name, mark, x, y, low, high = curve
    outline = {"x": [*x, *x[::-1]], "y": [*high, *low[::-1]]}
    quiet = {"hoverinfo": "skip", "showlegend": False, "legendgroup": name}
    band = go.Scatter(
        outline, fill="toself", fillcolor=tint(mark.colour, 0.15), mode="lines", line={"width": 0}, **quiet
    )
    line = go.Scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": mark.colour, "dash": mark.dash, "width": 2.5},
        marker={"symbol": mark.symbol, "size": 9, "color": mark.colour},
        name=name,
        legendgroup=name,
        showlegend=legend,
        customdata=np.column_stack([low, high]),
        hovertemplate=hover,
    )
    return [band, line]


def draw_points(
    rows: pd.DataFrame, label: str, mark: Mark, *, name: str, legend: bool = True, across: bool = False
) -> go.Scatter:
    """Estimates with asymmetric error bars; an infinite end is drawn without a bar.

    Args:
        rows: columns estimate, low, high, and the one that `label` names.
        label: column of the places along y or, `across`, along x.
    """
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


def finish(figure: go.Figure, title: str, *, height: int) -> go.Figure:
    """The look of the house, the title and the height in pixels."""
    figure.update_annotations(font_color=INK)
    figure.update_xaxes(showline=True, linecolor=PALE)
    return figure.update_layout(template=TEMPLATE, title=title, height=height)
