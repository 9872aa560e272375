"""The parts of a report, one module each.

To add a section, with its tables and figures, write a module here (see `doses.py`): a function from a `Run`
to a `Section`, or to None where the run lacks its data, registered under the section's id. Import it below,
and give it a place in `RESULTS` or `RECORD`; sections of plug-ins stand between the two. Figures are
functions of `reasonmech.viz`, rows are picked in `report/frames.py`, and nothing is computed.
"""

from __future__ import annotations

from typing import Final

from reasonmech.experiments import Run
from reasonmech.report.html import Section
from reasonmech.report.sections import budget as _budget
from reasonmech.report.sections import doses as _doses
from reasonmech.report.sections import features as _features
from reasonmech.report.sections import ladder as _ladder
from reasonmech.report.sections import metrics as _metrics
from reasonmech.report.sections import missing as _missing
from reasonmech.report.sections import notes as _notes
from reasonmech.report.sections import nulls as _nulls
from reasonmech.report.sections import pairwise as _pairwise
from reasonmech.report.sections import provenance as _provenance
from reasonmech.report.sections import receipts as _receipts
from reasonmech.report.sections import recovery as _recovery
from reasonmech.report.sections import side_effects as _side_effects
from reasonmech.report.sections import texts as _texts
from reasonmech.report.sections import traces as _traces
from reasonmech.report.sections import verdict as _verdict
from reasonmech.report.sections.base import SectionBuilder, sections

__all__ = ["Section", "SectionBuilder", "build_sections", "reading_order", "sections"]
del (
    _budget,
    _doses,
    _features,
    _ladder,
    _metrics,
    _missing,
    _notes,
    _nulls,
    _pairwise,
    _provenance,
    _receipts,
    _recovery,
    _side_effects,
    _texts,
    _traces,
    _verdict,
)

# what is missing, what was measured, then (after the sections of plug-ins) what one needs to doubt it
RESULTS: Final = (
    "missing",
    "verdict",
    "recovery-by-arm",
    "nulls",
    "budget",
    "side-effects",
    "metrics",
    "pairwise",
    "doses",
    "features",
    "ladder",
    "texts",
    "traces",
)
RECORD: Final = ("receipts", "notes", "provenance")


def reading_order() -> list[str]:
    """Ids of all sections as they stand on the page."""
    plugins = [name for name in sections.kinds() if name not in (*RESULTS, *RECORD)]
    return [*RESULTS, *plugins, *RECORD]


def build_sections(run: Run) -> list[Section]:
    """All parts that this run has data for, in reading order."""
    built = [sections.get(name)(run) for name in reading_order()]
    return [section for section in built if section is not None]
