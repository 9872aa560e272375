"""Section of statistics of the pair: each beside its control, with its interval."""

from __future__ import annotations

from reasonmech.experiments import Run
from reasonmech.frames import groups
from reasonmech.report.html import Column, Section, heading, number, table
from reasonmech.report.sections.base import sections


@sections.register("pairwise")
def pairwise_section(run: Run) -> Section | None:
    """One table a measure, in the order of the configuration."""
    if run.pairwise.empty:
        return None
    columns = (
        Column("statistic", "statistic"),
        Column("text", "on the text of"),
        Column("compared", "compared"),
        Column("value", "mean", number),
        Column("low", "low", number),
        Column("high", "high", number),
        Column("unit", "unit"),
        Column("problems", "problems", number),
    )
    blocks = []
    for (name,), rows in groups(run.pairwise, ["measure"]):
        blocks += [heading(str(name)), table(rows, columns)]
    lead = (
        "Statistics of the two models on what both wrote on the evaluation problems, with 95 % intervals by "
        "problem. Rows that compare something else than base and thinking are controls."
    )
    return Section("pairwise", "The pair", lead, (), blocks)
