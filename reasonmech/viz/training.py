"""Training curves of sparse coders, drawn."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reasonmech.coders import SparseCoder, training_curve
from reasonmech.errors import DataError
from reasonmech.frames import groups
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.theme import MARKS, TEMPLATE

_PANELS = {
    "explained_variance": "variance explained (of the batch)",
    "l0": "features per token",
    "dead": "dead features",
    "loss": "loss",
}


@names_as_text
def training_curves(coders: Sequence[SparseCoder]) -> go.Figure:
    """How coders were trained: variance explained, features per token, dead features and loss against tokens
    read.

    What was recorded, unsmoothed: one batch per point. Losses of different architectures do not compare.

    Raises:
        DataError: there is no coder, or one that carries no curve.
    """
    if not coders:
        raise DataError("no coder to draw")
    frame = pd.concat([training_curve(coder) for coder in coders])
    figure = make_subplots(rows=2, cols=2, shared_xaxes=True, subplot_titles=list(_PANELS.values()))
    for number, ((name,), rows) in enumerate(groups(frame, ["coder"])):
        mark = MARKS[number % len(MARKS)]
        for panel, column in enumerate(_PANELS):
            figure.add_scatter(
                x=list(rows["tokens"]),
                y=list(rows[column]),
                mode="lines",
                line={"color": mark.colour, "dash": mark.dash, "width": 2},
                name=name,
                legendgroup=name,
                showlegend=panel == 0,
                row=1 + panel // 2,
                col=1 + panel % 2,
            )
    figure.update_xaxes(title="tokens", row=2)
    legend = {"orientation": "h", "yanchor": "top", "y": -0.15, "x": 0}
    return figure.update_layout(template=TEMPLATE, title="Training", height=520, legend=legend)
