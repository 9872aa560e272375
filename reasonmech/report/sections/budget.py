"""Section of budget curves: how far a few of the other model's tokens go, in either direction."""

from __future__ import annotations

import math

import pandas as pd

from reasonmech.experiments import Run
from reasonmech.report.html import Column, Figure, Section, number, table, text
from reasonmech.report.sections.base import sections
from reasonmech.viz import budget_curves


@sections.register("budget")
def budget_section(run: Run) -> Section | None:
    """The curves, each against tokens at random, and their points."""
    points, curves = run.budget_points, run.budget_curves
    if points.empty or curves.empty:
        return None
    figure = Figure(
        "budget-figure",
        budget_curves(points),
        "Right answers by the number of tokens that are the other model's: the base with tokens of the "
        "thinking model, and the thinking model with tokens of the base.",
    )
    summary = curves.assign(
        height_interval=_intervals(curves, "height"),
        half_interval=_intervals(curves, "half"),
        half_way=["never" if math.isinf(value) else number(value) for value in curves["half"]],
    )
    columns = (
        Column("writer", "who writes"),
        Column("ranking", "tokens ranked by"),
        Column("token", "what is written there"),
        Column("half_way", "tokens for half of the way", text),
        Column("half_interval", "95 % interval", text),
        Column("over", "held against", text),
        Column("height", "points above it", number),
        Column("height_interval", "95 % interval", text),
    )
    lead = (
        "Only places count where the two models would write different tokens. All curves of a writer begin "
        "where it writes alone and end where every disagreement is replaced: rankings differ in how early "
        "they rise (base) or fall (thinking). Random: disagreements evenly drawn; entropy_matched: as often "
        "in each decile of the writer's entropy; its second choice: no token of the other model at all."
    )
    return Section("budget", "Budgets of tokens", lead, [figure], [table(summary, columns)])


def _intervals(curves: pd.DataFrame, name: str) -> list[str]:
    """The interval of a column as text; "" where there is none, an open end where one is infinite."""
    texts = []
    for low, high in zip(curves[f"{name}.low"], curves[f"{name}.high"], strict=True):
        if math.isnan(low):
            texts.append("")
        elif math.isfinite(low) and math.isfinite(high):
            texts.append(f"[{number(low)}, {number(high)}]")
        else:
            texts.append(f"{number(low)} or more" if math.isfinite(low) else "never in most draws")
    return texts
