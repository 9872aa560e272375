"""One look for every figure: colour-blind safe (Okabe and Ito 2008), and never colour alone."""

from __future__ import annotations

from typing import Final, NamedTuple

import plotly.graph_objects as go

INK: Final = "#1b1f24"
GREY: Final = "#6b7280"
PALE: Final = "#d7dbe0"


class Mark(NamedTuple):
    """How one kind of thing is drawn; colour, shape and dash all differ."""

    colour: str
    symbol: str
    dash: str


MARKS: Final = (
    Mark("#0072B2", "circle", "solid"),
    Mark("#D55E00", "diamond", "dash"),
    Mark("#009E73", "square", "dot"),
    Mark("#CC79A7", "triangle-up", "dashdot"),
    Mark("#E69F00", "triangle-down", "longdash"),
    Mark("#56B4E9", "x", "longdashdot"),
)
CONTROL: Final = Mark(GREY, "circle-open", "dot")
GUIDE: Final = {"color": GREY, "dash": "dot", "width": 1.5}  # a line at which there is no effect

TEMPLATE: Final = go.layout.Template(
    layout={
        "font": {"family": "Inter, 'Segoe UI', Helvetica, Arial, sans-serif", "size": 14, "color": INK},
        "title": {
            "font": {"size": 18},
            "x": 0.01,
            "xanchor": "left",
            "yref": "container",
            "y": 0.985,
            "yanchor": "top",
        },
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "hoverlabel": {"font": {"size": 13}},
        "legend": {
            "orientation": "h",
            "x": 0.0,
            "xanchor": "left",
            "yref": "container",
            "y": 0.01,
            "yanchor": "bottom",
        },
        "margin": {"l": 20, "r": 20, "t": 90, "b": 110},
        "xaxis": {
            "gridcolor": "#eef0f2",
            "zerolinecolor": PALE,
            "linecolor": PALE,
            "ticks": "outside",
            "automargin": True,
        },
        "yaxis": {"gridcolor": "#eef0f2", "zerolinecolor": PALE, "linecolor": PALE, "automargin": True},
    }
)


def tint(colour: str, alpha: float) -> str:
    """A hex colour as rgba, for bands that show intervals."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha:g})"
