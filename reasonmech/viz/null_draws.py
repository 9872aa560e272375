"""Figure of nulls: an arm among the draws of each of its nulls."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reasonmech.viz.drawing import check_frame, finish, values_in_order
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.theme import CONTROL, GREY, MARKS


@names_as_text
def arm_among_draws(draws: pd.DataFrame, nulls: pd.DataFrame) -> go.Figure:
    """Every draw of every null, the null's 95 % quantile with its interval, and the arm itself.

    Args:
        draws: one row per draw: null, accuracy (share right).
        nulls: one row per null: null, accuracy (of the arm on the same problems), q95, q95.low, q95.high;
            an end that is not finite is not drawn.

    Raises:
        DataError: a column is missing, or there is no row.
    """
    draws = check_frame(draws, ("null", "accuracy"))
    nulls = check_frame(nulls, ("null", "accuracy", "q95", "q95.low", "q95.high")).iloc[::-1]
    names = values_in_order(nulls, "null")
    above, below = (
        (nulls[end] - nulls["q95"]).abs().replace(float("inf"), 0.0).fillna(0.0)
        for end in ("q95.high", "q95.low")
    )
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=draws["accuracy"],
            y=draws["null"],
            mode="markers",
            name="a draw",
            marker={"color": CONTROL.colour, "symbol": CONTROL.symbol, "size": 8, "opacity": 0.7},
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=nulls["q95"],
            y=nulls["null"],
            mode="markers",
            name="95 % quantile of the draws",
            marker={"color": GREY, "symbol": "line-ns-open", "size": 18},
            error_x={"array": above, "arrayminus": below, "color": GREY},
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=nulls["accuracy"],
            y=nulls["null"],
            mode="markers",
            name="the arm",
            marker={"color": MARKS[0].colour, "symbol": MARKS[0].symbol, "size": 12},
            hovertemplate="%{x:.1%}<extra></extra>",
        )
    )
    figure.update_xaxes(title="right answers, on the same problems", tickformat=".0%")
    figure.update_yaxes(categoryorder="array", categoryarray=names)
    return finish(figure, "The arm among draws of its nulls", height=230 + 55 * len(names))
