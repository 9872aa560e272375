"""Budget curves, drawn: accuracy by how many tokens of a text are the other model's."""

from __future__ import annotations

from typing import Final

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reasonmech.frames import groups, rows_where
from reasonmech.viz.drawing import Curve, check_frame, draw_curve, finish, values_in_order
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.theme import CONTROL, MARKS

NULLS: Final = ("random", "entropy_matched")
_NEEDED: Final = ("writer", "ranking", "token", "tokens", "accuracy", "accuracy.low", "accuracy.high")
_HOVER: Final = "%{x:.1f} tokens a text: %{y:.1%} [%{customdata[0]:.1%}, %{customdata[1]:.1%}]"


@names_as_text
def budget_curves(points: pd.DataFrame) -> go.Figure:
    """Accuracy by replaced tokens per text, a panel per writer, a curve per ranking.

    Nulls (tokens at random, at random within deciles of entropy, the writer's second choice) are grey and
    dotted; only the first ranking has a band of intervals by problem, the others' are in the tables.

    Args:
        points: `hybrid.budget.Budget.points`.

    Raises:
        DataError: a column is missing, or there is no row.
    """
    points = check_frame(points, _NEEDED, allowed="the points of hybrid.budget.measure_budget(...)")
    writers, named = values_in_order(points, "writer"), set()
    titles = [f"the {writer} model writes" for writer in writers]
    figure = make_subplots(rows=1, cols=len(writers), shared_yaxes=True, subplot_titles=titles)
    others = points["token"].iloc[0]
    rankings = [name for name in values_in_order(points, "ranking") if name not in NULLS]
    for column, writer in enumerate(writers, start=1):
        of_writer = rows_where(points, points["writer"] == writer)
        for (ranking, token), rows in groups(of_writer, ["ranking", "token"]):
            is_null = ranking in NULLS or token != others
            name = ranking if token == others else f"{ranking}: {token}"
            mark = CONTROL if is_null else MARKS[rankings.index(ranking) % len(MARKS)]
            drawn = [rows.sort_values("tokens")[values].to_numpy(dtype=float) for values in _NEEDED[3:]]
            band, line = draw_curve(Curve(name, mark, *drawn), hover=_HOVER, legend=name not in named)
            lines = [band, line] if ranking in rankings[:1] and not is_null else [line]
            figure.add_traces(lines, rows=1, cols=column)
            named.add(name)
    figure.update_xaxes(title="tokens of a text that are the other model's", rangemode="tozero")
    figure.update_yaxes(title="right answers", tickformat=".0%", range=[-0.03, 1.03], col=1)
    return finish(figure, "Right answers by tokens replaced", height=480)
