"""Section of notes: what to know when reading the numbers."""

from __future__ import annotations

import pandas as pd

from reasonmech.experiments import Run
from reasonmech.report.html import Column, Section, table
from reasonmech.report.sections.base import sections


@sections.register("notes")
def note_section(run: Run) -> Section | None:
    """What was done in another way than one would expect, or needs to be read with care."""
    notes = run.record["notes"]
    if not notes:
        return None
    lead = "What needs to be read with care."
    frame = pd.DataFrame({"note": notes})
    return Section("notes", "Notes", lead, (), [table(frame, (Column("note", ""),))])
