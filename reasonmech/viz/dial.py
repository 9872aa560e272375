"""The dial, drawn: accuracy against the share of turns that the thinking model has."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reasonmech.errors import DataError
from reasonmech.frames import groups
from reasonmech.viz.theme import MARKS, TEMPLATE, tint

_NEEDED = ("factor", "other", "share", "accuracy", "low", "high")
_FACTORS = {"onset": "who decides the kind of a sentence", "executor": "who writes it"}


def dial_curves(frame: pd.DataFrame) -> go.Figure:
    """Accuracy by share, one line per factor and holder of the other factor, with 95 % bands by problem.

    Args:
        frame: what `dial_table` returns, or several of them one after the other.

    Raises:
        DataError: a column is missing, or there is no row.
    """
    if missing := [name for name in _NEEDED if name not in frame]:
        raise DataError(f"the figure needs columns {', '.join(missing)}", allowed=", ".join(_NEEDED))
    if frame.empty:
        raise DataError("the figure has no rows to draw", do="check the filter that made this frame")
    figure = go.Figure()
    for number, ((factor, other), rows) in enumerate(groups(frame, ["factor", "other"])):
        mark, rows = MARKS[number % len(MARKS)], rows.sort_values(by="share")
        name = f"{factor}: {_FACTORS[factor]}, the rest by {other}"
        x, quiet = list(rows["share"]), {"hoverinfo": "skip", "showlegend": False, "legendgroup": name}
        figure.add_scatter(
            x=x + x[::-1],
            y=[*rows["high"], *rows["low"][::-1]],
            fill="toself",
            fillcolor=tint(mark.colour, 0.15),
            mode="lines",
            line={"width": 0},
            **quiet,
        )
        figure.add_scatter(
            x=x,
            y=list(rows["accuracy"]),
            mode="lines+markers",
            line={"color": mark.colour, "dash": mark.dash, "width": 2.5},
            marker={"symbol": mark.symbol, "size": 9, "color": mark.colour},
            name=name,
            legendgroup=name,
            customdata=rows[["low", "high"]],
            hovertemplate="%{x:.0%}: %{y:.1%} [%{customdata[0]:.1%}, %{customdata[1]:.1%}]",
        )
    figure.update_xaxes(title="turns of the thinking model", tickformat=".0%", range=[-0.03, 1.03])
    figure.update_yaxes(title="accuracy, 95 % by problem", tickformat=".0%", range=[-0.03, 1.03])
    legend = {"orientation": "h", "yanchor": "top", "y": -0.22, "x": 0}
    return figure.update_layout(template=TEMPLATE, title="The dial", height=440, legend=legend)
