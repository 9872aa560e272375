"""The summary of a run for a terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reasonmech.experiments import Run
from reasonmech.report.answer import answer
from reasonmech.report.frames import arms, effects
from reasonmech.report.html import interval, number, percent, records


def summary(run: Run) -> Group:
    """The answer, the arms, and what the located features do, as rich renderables."""
    said = answer(run)
    lines = Text("\n".join([said.sentence, *said.notes]))
    parts: list[Panel | Table] = [Panel(lines, title=escape(run.record["run"]), border_style="cyan")]
    table = arms(run)
    if not table.empty:
        parts.append(_arms(table))
    written = effects(run)
    if not written.empty:
        parts.append(_effects(written))
    return Group(*parts)


def _arms(frame: pd.DataFrame) -> Table:
    table = Table(title="arms", title_justify="left", header_style="bold")
    for name in ("arm", "accuracy", "95 %", "gap recovered", "95 %", "steered", "role"):
        table.add_column(name, justify="left" if name in ("arm", "role") else "right")
    for row in records(frame):
        role = f"control for {row['control_for']}" if row["control_for"] else ""
        table.add_row(
            escape(row["condition"]),
            percent(row["accuracy"]),
            escape(interval(row["accuracy.low"], row["accuracy.high"])),
            percent(row["recovery"]),
            escape(interval(row["recovery.low"], row["recovery.high"])),
            percent(row["percent_steered"]),
            role,
        )
    return table


def _effects(frame: pd.DataFrame) -> Table:
    """The strongest effect of each curve; the whole curves are in the report."""
    table = Table(title="what the located features do: P(onset)", title_justify="left", header_style="bold")
    for name in ("behaviour", "host", "verb", "where", "untouched", "dose", "located", "95 %", "random, matched", "KL"):
        table.add_column(name, justify="left" if name in ("behaviour", "host", "verb", "where") else "right")
    for row in records(frame):
        numbers = (percent(row["untouched"]), number(row["dose"]), percent(row["located"]), row["interval"])
        names = (row["behaviour"], row["host"], row["verb"], row["place"])
        table.add_row(*map(escape, names), *map(escape, (*numbers, row["random"], number(row["kl"]))))
    return table
