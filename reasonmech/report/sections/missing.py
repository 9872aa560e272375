"""Section of what is missing: everything that a run was asked for and lacks, with the first cause of each."""

from __future__ import annotations

from reasonmech.experiments import Run
from reasonmech.report.html import Column, Section, folded, table
from reasonmech.report.missing import causes, count_sentence
from reasonmech.report.sections.base import sections


@sections.register("missing")
def missing_section(run: Run) -> Section | None:
    """One row a cause, then every item; nothing where nothing is missing."""
    if run.missing.empty:
        return None
    by_cause = (
        Column("stage", "stage"),
        Column("items", "missing"),
        Column("why", "why: the first cause"),
        Column("do", "what can be done"),
    )
    every = (Column("stage", "stage"), Column("part", "a"), Column("item", "missing"), Column("why", "why"))
    items = run.missing.assign(why=run.missing["error"] + ": " + run.missing["happened"])
    blocks = [
        table(causes(run), by_cause),
        folded(f"All {len(items)} missing things", table(items, every)),
    ]
    return Section("missing", "Missing", count_sentence(run), (), blocks)
