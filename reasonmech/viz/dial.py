"""The dial, drawn: accuracy against the share of turns that the thinking model has."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reasonmech.frames import groups
from reasonmech.viz.drawing import Curve, check_frame, draw_curve
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.theme import MARKS, TEMPLATE

_NEEDED = ("factor", "other", "share", "accuracy", "low", "high")
_HOVER = "%{x:.0%}: %{y:.1%} [%{customdata[0]:.1%}, %{customdata[1]:.1%}]"
_FACTORS = {"onset": "who decides the kind of a sentence", "executor": "who writes it"}


@names_as_text
def dial_curves(frame: pd.DataFrame) -> go.Figure:
    """Accuracy by share, one line per factor and holder of the other factor, with 95 % bands by problem.

    Args:
        frame: what `dial_table` returns, or several of them one after the other.

    Raises:
        DataError: a column is missing, or there is no row.
    """
    check_frame(frame, _NEEDED)
    figure = go.Figure()
    for number, ((factor, other), rows) in enumerate(groups(frame, ["factor", "other"])):
        name = f"{factor}: {_FACTORS[factor]}, the rest by {other}"
        by_share = rows.sort_values(by="share")
        points = (by_share[column].to_numpy() for column in ("share", "accuracy", "low", "high"))
        figure.add_traces(draw_curve(Curve(name, MARKS[number % len(MARKS)], *points), hover=_HOVER))
    figure.update_xaxes(title="turns of the thinking model", tickformat=".0%", range=[-0.03, 1.03])
    figure.update_yaxes(title="accuracy, 95 % by problem", tickformat=".0%", range=[-0.03, 1.03])
    legend = {"orientation": "h", "yanchor": "top", "y": -0.22, "x": 0}
    return figure.update_layout(template=TEMPLATE, title="The dial", height=440, legend=legend)
