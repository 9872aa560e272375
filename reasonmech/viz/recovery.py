"""Figure of the arms of a hybrid: the share of the gap that each recovers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reasonmech.frames import rows_where
from reasonmech.viz.drawing import check_frame, draw_points, finish, is_control
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.theme import CONTROL, GUIDE, MARKS


@names_as_text
def recovery_by_arm(frame: pd.DataFrame) -> go.Figure:
    """Share of the gap between base (0 %) and thinking model (100 %) that each arm recovers.

    Args:
        frame: one row per arm: arm, estimate, low, high (shares; infinite where unbounded), steered (share of
            model-chosen tokens). Arms named random_... are drawn as controls, takeover as the ceiling.

    Raises:
        DataError: a column is missing, or there is no row.
    """
    # plotly draws categories from the bottom up: reversed, the first arm stands on top
    frame = check_frame(frame, ("arm", "estimate", "low", "high", "steered")).iloc[::-1]
    figure = go.Figure()
    for x, name in ((0.0, "base"), (1.0, "thinking")):
        figure.add_vline(x=x, line=GUIDE, annotation_text=name, annotation_position="top")
    for role, mark in (("hybrid", MARKS[0]), ("ceiling", MARKS[2]), ("random control", CONTROL)):
        rows = rows_where(frame, [_role(arm) == role for arm in frame["arm"]])
        if len(rows):
            figure.add_trace(draw_points(rows, "arm", mark, name=role))
    finite = frame[["estimate", "low", "high"]].to_numpy(np.float64)
    finite = finite[np.isfinite(finite)]
    for arm, estimate, low, high, steered in frame[["arm", "estimate", "low", "high", "steered"]].itertuples(
        index=False
    ):
        interval = f"[{low:.0%}, {high:.0%}]" if np.isfinite([low, high]).all() else "[unbounded]"
        text = f"<b>{estimate:.0%}</b> {interval} · {steered:.1%} steered"
        figure.add_annotation(x=1.01, xref="paper", y=arm, text=text, showarrow=False, xanchor="left")
    figure.update_xaxes(title="gap recovered, 95 % interval by problem", tickformat=".0%")
    figure.update_xaxes(range=[min(0.0, *finite) - 0.04, max(1.0, *finite) + 0.04])
    figure.update_yaxes(categoryorder="array", categoryarray=list(frame["arm"]))
    # the right margin holds the annotations, which are written outside the panel
    return finish(figure, "Gap recovered by arm", height=230 + 40 * len(frame)).update_layout(margin_r=280)


def _role(arm: str) -> str:
    return "random control" if is_control(arm) else "ceiling" if arm == "takeover" else "hybrid"
