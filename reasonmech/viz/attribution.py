"""Figures of attribution: estimates against exact patches, and the share of an effect that groups carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.frames import groups, rows_where
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.theme import CONTROL, GREY, INK, MARKS, PALE, TEMPLATE, Mark, tint

GUIDE: Final = {"color": GREY, "dash": "dot", "width": 1.5}
AUDITED: Final = {
    "top": ("top of the attribution", MARKS[0]),
    "sample": ("random sample of the rest", CONTROL),
    "error": ("error of the coder", MARKS[1]),
}
SIDES: Final = {"group": "the group patched (faithfulness)", "rest": "all others patched (completeness)"}
ERRORS: Final = {
    "keep": "error kept",
    "drop": "error dropped",
    "patch": "error patched as well",
}


@checked
@names_as_text
def audit_scatter(frame: pd.DataFrame, *, note: str = "") -> go.Figure:
    """Exact effect of each audited node (up) against what the attribution said of it (right); dotted: equal.

    Args:
        frame: `Audit.table`.
        note: a line under the title, such as `str(audit)`.

    Raises:
        DataError: columns are missing, there is nothing to draw, or several metrics are in one frame.
    """
    _check(frame, ("site", "feature", "group", "estimate", "exact", "metric", "unit"))
    figure = go.Figure()
    ends = [
        float(edge(frame[["estimate", "exact"]].to_numpy(np.float64), initial=0.0))
        for edge in (np.min, np.max)
    ]
    figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line=GUIDE, hoverinfo="skip", showlegend=False))
    for group, (name, mark) in AUDITED.items():
        rows = rows_where(frame, frame["group"] == group)
        if len(rows):
            nodes = ["error" if pd.isna(feature) else f"feature {feature}" for feature in rows["feature"]]
            figure.add_trace(
                go.Scatter(
                    x=rows["estimate"],
                    y=rows["exact"],
                    mode="markers",
                    marker={"symbol": mark.symbol, "size": 10, "color": mark.colour, "line": {"width": 1.5}},
                    name=name,
                    customdata=[f"{node} · {site}" for node, site in zip(nodes, rows["site"], strict=True)],
                    hovertemplate="%{customdata}: says %{x:.4g}, is %{y:.4g}<extra></extra>",
                )
            )
    metric, unit = (str(frame[name].iloc[0]) for name in ("metric", "unit"))
    figure.update_xaxes(
        title=f"attributed change of {metric}, {unit}",
        range=_padded_range(frame["estimate"].to_numpy(np.float64)),
    )
    figure.update_yaxes(
        title=f"exact change, {unit}", range=_padded_range(frame["exact"].to_numpy(np.float64))
    )
    return _finish(figure, "Attribution against exact patches", note, height=520)


@checked
@names_as_text
def faithfulness_curves(frame: pd.DataFrame, *, note: str = "") -> go.Figure:
    """Share of a site's full patching effect against the number of features, beside random groups.

    Left: the first n features of the group are patched; 1 is the whole effect. Right: all features but these
    are; 0 says that nothing is left without them. One row of panels per treatment of the coder's error. Bands
    are 95 % intervals by problem; where the full effect's interval covers 0, or there is one problem, there
    is none to draw.

    Args:
        frame: `Faithfulness.curve`; groups marked as controls are drawn in grey, under one name.
        note: a line under the title.

    Raises:
        DataError: columns are missing, there is nothing to draw, or several metrics are in one frame.
    """
    needed = (
        "group",
        "control",
        "n",
        "error",
        "patched",
        "metric",
        "unit",
        "share",
        "share_low",
        "share_high",
    )
    _check(frame, needed)
    errors = [error for error in ERRORS if error in set(frame["error"])]
    sides = [side for side in SIDES if side in set(frame["patched"])]
    figure = make_subplots(
        rows=len(errors),
        cols=len(sides),
        shared_xaxes=True,
        subplot_titles=[f"{SIDES[side]} · {ERRORS[error]}" for error in errors for side in sides],
        horizontal_spacing=0.09,
        vertical_spacing=0.12 if len(errors) < 3 else 0.08,
    )
    located = list(dict.fromkeys(frame["group"][~frame["control"].astype(bool)]))
    named: set[str] = set()
    for (error, side, group), rows in groups(frame, ["error", "patched", "group"]):
        name, mark = "random groups", CONTROL
        if group in located:
            name, mark = group, MARKS[located.index(group) % len(MARKS)]
        row, col = errors.index(error) + 1, sides.index(side) + 1
        for trace in _curve(rows.sort_values(by="n"), mark, name=name, legend=name not in named):
            figure.add_trace(trace, row=row, col=col)
        named.add(name)
    for guide in (0.0, 1.0):
        figure.add_hline(y=guide, line=GUIDE)
    sizes = sorted({int(n) for n in frame["n"]})
    figure.update_xaxes(tickvals=_axis_position(sizes), ticktext=[str(n) for n in sizes])
    figure.update_xaxes(title="features", row=len(errors))
    figure.update_yaxes(title="share of the full effect", col=1)
    metric = str(frame["metric"].iloc[0])
    return _finish(figure, f"Share of the patching effect on {metric}", note, height=200 + 300 * len(errors))


def _padded_range(values: np.ndarray) -> list[float]:
    """From the smallest to the largest value, with a margin."""
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    margin = 0.06 * (high - low) or 1.0
    return [low - margin, high + margin]


def _curve(rows: pd.DataFrame, mark: Mark, *, name: str, legend: bool) -> list[go.Scatter]:
    n = rows["n"].to_numpy(np.float64)
    x, share, low, high = (
        _axis_position(n),
        *(rows[f"share{end}"].to_numpy(np.float64) for end in ("", "_low", "_high")),
    )
    line = go.Scatter(
        x=x,
        y=share,
        mode="lines+markers",
        line={"color": mark.colour, "dash": mark.dash, "width": 2.5},
        marker={"symbol": mark.symbol, "size": 8, "color": mark.colour},
        name=name,
        legendgroup=name,
        showlegend=legend,
        customdata=np.stack([n, low, high], axis=-1),
        hovertemplate="%{customdata[0]} features: %{y:.3f} [%{customdata[1]:.3f}, %{customdata[2]:.3f}]",
    )
    # an infinite end would fill the whole panel
    bounded = np.isfinite(low) & np.isfinite(high)
    if not bounded.all():
        return [line]
    band = go.Scatter(
        x=[*x, *x[::-1]],
        y=[*high, *low[::-1]],
        fill="toself",
        fillcolor=tint(mark.colour, 0.12),
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
    )
    return [band, line]


def _axis_position(sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where a number of features stands on the axis: doubling is one step, and 0 has a place."""
    return np.log2(np.asarray(sizes, dtype=np.float64) + 1)


def _check(frame: pd.DataFrame, needed: Sequence[str]) -> None:
    if missing := [name for name in needed if name not in frame]:
        raise DataError(f"the figure needs columns {', '.join(missing)}", allowed=", ".join(needed))
    if frame.empty:
        raise DataError("the figure has no rows to draw", do="check the filter that made this frame")
    if (n_metrics := len(set(frame["metric"]))) > 1:
        raise DataError(f"{n_metrics} metrics in one figure", do="draw one figure for each")


def _finish(figure: go.Figure, title: str, note: str, *, height: int) -> go.Figure:
    figure.update_annotations(font_color=INK, font_size=14)
    figure.update_xaxes(showline=True, linecolor=PALE, zeroline=False)
    figure.update_yaxes(zeroline=False)
    if note:
        under = {"xref": "paper", "yref": "paper", "x": 0.0, "y": 1.0, "xanchor": "left", "yanchor": "bottom"}
        figure.add_annotation(
            text=note, showarrow=False, yshift=26, font={"size": 13, "color": GREY}, **under
        )
    return figure.update_layout(template=TEMPLATE, title=title, height=height)
