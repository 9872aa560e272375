"""The summary of a run for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reasonmech.behaviours import defined
from reasonmech.experiments import Run
from reasonmech.report.answer import answer
from reasonmech.report.frames import arm_frame, effect_frame
from reasonmech.report.html import number, percent, records, with_interval
from reasonmech.report.missing import causes


def summary(run: Run) -> Group:
    """The answer, the arms, and what the located features do, as rich renderables."""
    headline = answer(run)
    lines = Text("\n".join([headline.sentence, *headline.notes]))
    parts: list[Panel | Table] = [Panel(lines, title=Text(run.record["run"]), border_style="cyan")]
    if not run.missing.empty:
        parts.append(_missing_table(run))
    table = arm_frame(run)
    if not table.empty:
        parts.append(_arm_table(table))
    effects = effect_frame(run)
    if not effects.empty:
        parts.append(_effect_table(effects))
    return Group(*parts)


def receipts(run: Run) -> Table:
    """What every intervention of a run really did, one row each."""
    title = "tokens changed of those named; mean ||change||/||x||; mean KL in nats"
    table = _make_table(title, "", "changed / named", "change", "KL")
    table.columns[0].no_wrap = False
    for condition, lines in run.record["receipts"].items():
        for line in lines:
            change = "" if line["mean_relative"] is None else f"{line['mean_relative']:.2f}"
            kl = "" if line.get("kl") is None else f"{line['kl']:.4f}"
            table.add_row(
                Text.assemble(condition, " ", (line["site"], "dim")),
                f"{_n_changed(line)} / {line['n_masked']}",
                change,
                kl,
            )
    return table


def _n_changed(line: Mapping[str, Any]) -> int:
    """Tokens that an intervention changed; those at which its gate was open where only these were counted."""
    return line["n_gated"] if line["n_changed"] is None else line["n_changed"]


def receipts_in_short(run: Run) -> str:
    """One line: how many interventions there were, and whether each of them changed anything."""
    lines = [line for receipt in run.record["receipts"].values() for line in receipt]
    silent = sum(_n_changed(line) == 0 for line in lines)
    return f"{len(lines)} interventions, {silent or 'none'} of which changed no token"


def _missing_table(run: Run) -> Table:
    table = Table(
        title=f"missing: {len(run.missing)} of {run.n_planned} things, by their first cause",
        title_justify="left",
        title_style="bold red",
        header_style="dim",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("stage", "missing", "why", "what can be done"):
        table.add_column(name)
    for row in records(causes(run)):
        table.add_row(*(Text(row[key]) for key in ("stage", "items", "why", "do")))
    return table


def _arm_table(frame: pd.DataFrame) -> Table:
    table = _make_table(
        "arms, with 95 % intervals by problem (*: a control, which must fail)",
        "arm",
        "accuracy",
        "gap recovered",
        "steered",
    )
    for row in records(frame):
        recovered = _with_interval(row["recovery"], row["recovery.low"], row["recovery.high"])
        table.add_row(
            Text(row["condition"] + (" *" if row["control_for"] else "")),
            _with_interval(row["accuracy"], row["accuracy.low"], row["accuracy.high"]),
            "" if pd.isna(row["recovery"]) else recovered,
            percent(row["percent_steered"]),
        )
    return table


def _effect_table(frame: pd.DataFrame) -> Table:
    """The strongest effect at opportunities; what happens elsewhere, and whole curves, are in the report."""
    title = "share of opportunities taken, when a behaviour's features are written"
    table = _make_table(title, "what", "untouched", "located", "worst random, any dose", "KL, nats")
    for row in records(frame.loc[frame.place != "elsewhere"]):
        dose = "" if pd.isna(row["dose"]) else f" x{row['dose']:g}"
        intervention = Text(f"{row['host']}: {row['verb']} {defined(row['behaviour'])}{dose}")
        table.add_row(
            intervention,
            percent(row["untouched"]),
            percent(row["located"]),
            _worst_control(row),
            number(row["kl"]),
        )
    return table


def _worst_control(row: Mapping[str, Any]) -> str:
    dose = "" if pd.isna(row["worst_control_dose"]) else f" (x{row['worst_control_dose']:g})"
    return percent(row["worst_control"]) + dose


def _make_table(title: str, first: str, *others: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _with_interval(value: float, low: float, high: float) -> Text:
    return Text(with_interval(value, low, high))
