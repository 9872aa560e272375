"""A section of the report."""

from __future__ import annotations

from reasonmech.experiments import Run
from reasonmech.report.html import Column, Section, number, table
from reasonmech.report.sections import sections


@sections.register("greetings")
def greeting_section(run: Run) -> Section | None:
    """What the stage `hello` counted."""
    rows = run.results[run.results.metric == "hello"]
    if rows.empty:
        return None
    columns = (Column("condition", "who"), Column("value", "problems", number))
    return Section("greetings", "Greetings", "How many problems were greeted.", (), [table(rows, columns)])
