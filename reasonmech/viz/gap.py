"""Figure of a verdict: the gap of a pair, cut into when, how and what lies in no splice."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reasonmech.frames import rows_where
from reasonmech.viz.drawing import check_frame, draw_points, finish, values_in_order
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.theme import GUIDE, MARKS


@names_as_text
def gap_by_factor(frame: pd.DataFrame) -> go.Figure:
    """Points of accuracy that each factor accounts for, of the gap between base and thinking model.

    Args:
        frame: one row per factor and decoding: factor, decoding, estimate, low, high (shares of problems).

    Raises:
        DataError: a column is missing, or there is no row.
    """
    frame = check_frame(frame, ("factor", "decoding", "estimate", "low", "high")).iloc[::-1]
    figure = go.Figure()
    figure.add_vline(x=0.0, line=GUIDE)
    decodings = values_in_order(frame, "decoding")
    for mark, decoding in zip(MARKS, reversed(decodings), strict=False):
        rows = rows_where(frame, frame["decoding"] == decoding)
        figure.add_trace(draw_points(rows, "factor", mark, name=decoding))
    figure.update_xaxes(title="points of accuracy, 95 % interval by problem", tickformat=".0%")
    figure.update_yaxes(categoryorder="array", categoryarray=values_in_order(frame, "factor"))
    figure.update_layout(scattermode="group")
    return finish(figure, "What the gap is made of", height=230 + 55 * len(values_in_order(frame, "factor")))
