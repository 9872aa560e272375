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
from reasonmech.viz.drawing import Curve, check_frame, draw_curve, finish, is_control
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.patching import DIVERGING
from reasonmech.viz.theme import CONTROL, GUIDE, MARKS, Mark

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
HOVER: Final = "%{x:g}: %{y:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]"
MAX_LINES: Final = len(MARKS)
MAX_NUMBERED: Final = 14  # columns of a panel that leave room for a number in every cell
MAX_COLUMNS: Final = 2


@names_as_text
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
    axes = [axis for axis in dict.fromkeys(frame["axis"]) if not is_control(axis)]
    if len(axes) > MAX_LINES:
        raise DataError(
            f"{len(axes)} axes in one figure of lines",
            allowed=f"at most {MAX_LINES}",
            do="draw sweep_map, or fewer",
        )
    places = list(dict.fromkeys(frame["where"]))
    figure = make_subplots(
        rows=1, cols=len(places), shared_yaxes=True, subplot_titles=places, horizontal_spacing=0.04
    )
    in_legend: set[str] = set()
    for (where, axis, _), rows in groups(frame.fillna({"seed": -1}), ["where", "axis", "seed"]):
        mark, name = (CONTROL, "random") if is_control(axis) else (MARKS[axes.index(axis)], str(axis))
        curve = _curve(name, mark, rows.sort_values(by="amount"))
        for trace in draw_curve(curve, hover=HOVER, legend=name not in in_legend):
            figure.add_trace(trace, row=1, col=places.index(where) + 1)
        in_legend.add(name)
    verb, metric, unit = (str(frame[name].iloc[0]) for name in ("verb", "metric", "unit"))
    figure.add_hline(y=0.0, line=GUIDE)
    figure.update_yaxes(title=f"change of {metric}, {unit}", col=1)
    figure.update_xaxes(title=f"{verb} (units of the axis)")
    return finish(figure, f"{metric} · effect of {verb}, 95 % intervals", height=460)


@names_as_text
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
    # an ablation has no amount: its column bears no number
    amount_names = frame["amount"].map(lambda amount: "" if np.isnan(amount) else f"{amount:g}")
    frame = frame.assign(row=frame["axis"] + seeds, column=amount_names)
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
    for number, (_, panel) in enumerate(groups(frame, ["where"])):
        trace = _panel(panel, names, amounts)
        figure.add_trace(trace, row=number // columns + 1, col=number % columns + 1)
    largest = float(np.nanmax(np.abs(frame["effect"].to_numpy(np.float64)), initial=0.0)) or 1.0
    verb, metric, unit = (str(frame[name].iloc[0]) for name in ("verb", "metric", "unit"))
    bar = {"title": unit, "outlinewidth": 0, "thickness": 14}
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_xaxes(title=f"{verb} (units of the axis)", row=n_rows)
    height = 200 + n_rows * (60 + 26 * len(names))
    return finish(figure, f"{metric} · effect of {verb}", height=height).update_layout(
        coloraxis={"cmin": -largest, "cmax": largest, "colorscale": DIVERGING, "colorbar": bar}, margin_b=70
    )


def _check(frame: pd.DataFrame) -> None:
    check_frame(frame, NEEDED, allowed="SweepTable.mean, or rows of it")
    for name in ("verb", "metric"):
        values = sorted(set(frame[name]))
        if len(values) > 1:
            raise DataError(f"{', '.join(values)} in one figure", do=f"filter the frame to one {name}")


def _curve(name: str, mark: Mark, rows: pd.DataFrame) -> Curve:
    # one problem gives no interval: its band has no width
    low, high = (rows[f"effect_{end}"].fillna(rows["effect"]) for end in ("low", "high"))
    return Curve(name, mark, *(column.to_numpy() for column in (rows["amount"], rows["effect"], low, high)))


def _panel(rows: pd.DataFrame, names: Sequence[str], amounts: Sequence[str]) -> go.Heatmap:
    tables = []
    for column in ("effect", "effect_low", "effect_high"):
        cells = pd.Series(rows[column].to_numpy(np.float64), index=[rows["row"], rows["column"]])
        tables.append(cells.unstack().reindex(index=list(names), columns=list(amounts)).to_numpy())
    z, low, high = tables
    excludes_zero = np.isfinite(z) & ~((low <= 0) & (high >= 0))
    has_room = len(amounts) <= MAX_NUMBERED
    text = [
        [(f"{effect:.2f}" if has_room else "•") if sure else "" for effect, sure in zip(*row, strict=True)]
        for row in zip(z, excludes_zero, strict=True)
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
