"""Section of notes: what a run was asked for and could not measure."""

from __future__ import annotations

import pandas as pd

from reasonmech.experiments import Run
from reasonmech.report.html import Column, Section, table
from reasonmech.report.sections.base import sections


@sections.register("notes")
def note_section(run: Run) -> Section | None:
    """What could not be measured, and why."""
    notes = run.record["notes"]
    if not notes:
        return None
    lead = "Nothing is left out in silence: what was asked for and could not be measured, with the reason."
    frame = pd.DataFrame({"note": notes})
    return Section("notes", "Not measured", lead, (), [table(frame, (Column("note", ""),))])
