"""Section of configured metrics: each of every arm, with its interval."""

from __future__ import annotations

from reasonmech.experiments import Run
from reasonmech.frames import groups
from reasonmech.report.html import Column, Section, heading, number, table
from reasonmech.report.sections.base import sections


@sections.register("metrics")
def metric_section(run: Run) -> Section | None:
    """One table a metric, in the order of the configuration."""
    if run.metrics.empty:
        return None
    columns = (
        Column("condition", "of"),
        Column("value", "mean", number),
        Column("low", "low", number),
        Column("high", "high", number),
        Column("n", "texts", number),
    )
    blocks = []
    for (name, unit), rows in groups(run.metrics, ["metric", "unit"]):
        blocks += [heading(f"{name}, {unit}"), table(rows, columns)]
    lead = (
        "Means over texts, with 95 % intervals by problem. Arms are read by what they wrote, the models by "
        "what they would say next after a problem's prompt."
    )
    return Section("metrics", "Metrics", lead, (), blocks)
