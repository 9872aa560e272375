"""Steering, drawn: where in a text an arm steers, and the same problem as several arms answered it."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reasonmech.door import checked
from reasonmech.frames import groups
from reasonmech.locate.feature_summary.tokens import CONTINUED
from reasonmech.viz.drawing import check_frame, finish, values_in_order
from reasonmech.viz.figure_text import names_as_text
from reasonmech.viz.pages import as_html
from reasonmech.viz.theme import MARKS

BINS: Final = 10
STYLE: Final = """
.rm-steered { font: 14px/1.9 Inter, 'Segoe UI', Helvetica, Arial, sans-serif; color: #1b1f24;
  background: white; }
.rm-steered h4 { margin: 18px 0 4px; font-size: 14px; }
.rm-steered .arms { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 12px; }
.rm-steered article { border: 1px solid #d7dbe0; border-radius: 6px; padding: 8px 12px; }
.rm-steered h5 { margin: 0 0 4px; font-size: 13px; }
.rm-steered p { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.rm-steered .t { background: #d3efe6; border-bottom: 3px double #009E73; }
.rm-steered .env { font-style: italic; color: #6b3d00; }
.rm-steered s { color: #a33b00; font-size: 12px; margin: 0 3px; }
.rm-steered small { color: #00664b; font-size: 10.5px; font-weight: 600; margin-left: 2px; }
"""
KEY: Final = (
    '<p class="key"><span class="t">steered</span><small>category</small>; in front of it, struck out, what '
    'the base would have written; <span class="env">written by the environment</span>.</p>'
)


@names_as_text
def steering_places(places: pd.DataFrame) -> go.Figure:
    """Which share of an arm's steered tokens lies in each tenth of its text, one curve per arm.

    Args:
        places: one row per steered token: condition, offset, n_tokens (`Run.steered_places`).

    Raises:
        DataError: a column is missing, or there is no row.
    """
    check_frame(places, ("condition", "offset", "n_tokens"))
    figure, edges = go.Figure(), np.linspace(0, 1, BINS + 1)
    for number, name in enumerate(values_in_order(places, "condition")):
        rows = places[places["condition"] == name]
        share = (rows["offset"] + 0.5) / rows["n_tokens"]
        mark = MARKS[number % len(MARKS)]
        figure.add_trace(
            go.Scatter(
                x=(edges[1:] + edges[:-1]) / 2,
                y=np.histogram(share, edges)[0] / len(rows),
                mode="lines+markers",
                name=name,
                line={"color": mark.colour, "dash": mark.dash, "width": 2.5},
                marker={"symbol": mark.symbol, "size": 8, "color": mark.colour},
                hovertemplate=f"{name}: %{{y:.0%}} of {len(rows)} tokens<extra></extra>",
            )
        )
    figure.update_xaxes(title="where in its text", tickformat=".0%", range=[0, 1])
    figure.update_yaxes(title="of the tokens that it steers", rangemode="tozero", tickformat=".0%")
    return finish(figure, "Where arms steer", height=440)


@checked
def steered_html(texts: pd.DataFrame) -> str:
    """A fragment of HTML: each problem as every arm answered it, side by side, with what was steered.

    Everything in it is escaped, and it loads nothing.

    Args:
        texts: one row per token: condition, problem, correct, text, environment, steered, category, instead
            (`Run.steered_texts`).

    Raises:
        DataError: a column is missing, or there is no row.
    """
    check_frame(
        texts,
        ("condition", "problem", "correct", "text", "environment", "steered", "category", "instead"),
    )
    parts = []
    for (problem,), rows in groups(texts, ["problem"]):
        articles = []
        for (name,), tokens in groups(rows, ["condition"]):
            words = "".join(_word(row) for row in tokens.to_dict("records"))
            answer = "right" if bool(tokens["correct"].iloc[0]) else "wrong"
            articles.append(f"<article><h5>{as_html(name)}: {answer}</h5><p>{words}</p></article>")
        parts.append(f'<h4>{as_html(problem)}</h4><div class="arms">{"".join(articles)}</div>')
    return f'<div class="rm-steered"><style>{STYLE}</style>{KEY}{"".join(parts)}</div>'


def _word(row: dict[str, object]) -> str:
    body = as_html(row["text"]) or CONTINUED
    if row["steered"]:
        would = str(row["instead"])
        before = f"<s>{as_html(would.strip() or would)}</s>" if would else ""
        return f'{before}<span class="t">{body}</span><small>{as_html(row["category"])}</small>'
    return f'<span class="env">{body}</span>' if row["environment"] else body
