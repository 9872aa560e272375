"""Figure of doses: how often a behaviour begins against how strongly its features are written."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reasonmech.behaviours import defined
from reasonmech.door import checked
from reasonmech.frames import groups
from reasonmech.viz.drawing import Curve, check_frame, draw_curve, finish, is_control, values_in_order
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.theme import CONTROL, MARKS, Mark

HOVER = "%{x:g}: %{y:.1%} [%{customdata[0]:.1%}, %{customdata[1]:.1%}]"


@checked
@names_as_text
def dose_curves(frame: pd.DataFrame, *, dose: str = "clamped to (activation units)") -> go.Figure:
    """Rate of each behaviour against the clamped value: located features beside matched random ones.

    Args:
        frame: behaviour, place (panel column, such as "at opportunities"), arm, dose, value, low, high
            (shares). Arms whose name begins with "random" are drawn as controls.
        dose: what the dose is, with its unit.

    Raises:
        DataError: a column is missing, or there is no row.
    """
    frame = check_frame(frame, ("behaviour", "place", "arm", "dose", "value", "low", "high"))
    behaviours, places = values_in_order(frame, "behaviour"), values_in_order(frame, "place")
    figure = make_subplots(
        rows=len(behaviours),
        cols=len(places),
        shared_xaxes=True,
        shared_yaxes=True,
        subplot_titles=[f"{defined(behaviour)} · {place}" for behaviour in behaviours for place in places],
        vertical_spacing=0.12 if len(behaviours) < 4 else 0.06,
        horizontal_spacing=0.04,
    )
    marks = _marks_of_arms(values_in_order(frame, "arm"))
    in_legend: set[str] = set()
    for (behaviour, place, arm), rows in groups(frame, ["behaviour", "place", "arm"]):
        name = "random, matched" if is_control(arm) else arm
        row, col = behaviours.index(behaviour) + 1, places.index(place) + 1
        by_dose = rows.sort_values(by="dose")
        points = (by_dose[column].to_numpy() for column in ("dose", "value", "low", "high"))
        for trace in draw_curve(Curve(name, marks[arm], *points), hover=HOVER, legend=name not in in_legend):
            figure.add_trace(trace, row=row, col=col)
        in_legend.add(name)
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")  # a point at 0 or 1 is not cut in half
    figure.update_yaxes(title="behaviour begins", col=1)
    figure.update_xaxes(title=dose, row=len(behaviours))
    return finish(figure, "Dose and response, 95 % intervals by problem", height=220 + 240 * len(behaviours))


def _marks_of_arms(arms: Sequence[str]) -> dict[str, Mark]:
    located = [arm for arm in arms if not is_control(arm)]
    return {arm: CONTROL if is_control(arm) else MARKS[located.index(arm) % len(MARKS)] for arm in arms}
