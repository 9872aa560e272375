"""Section of traces: the same problem answered by several arms, word by word."""

from __future__ import annotations

from markupsafe import Markup

from reasonmech.experiments import Run
from reasonmech.locate.feature_summary.tokens import TOKEN_COLUMNS
from reasonmech.report.html import Section
from reasonmech.report.sections.base import sections
from reasonmech.viz import traces_html

NONE = "no feature was located: nothing is shaded"


@sections.register("traces")
def trace_section(run: Run) -> Section | None:
    """The same problem answered by several arms, word by word."""
    frame = run.traces
    if frame.empty:
        return None
    features = [str(column) for column in frame if column not in TOKEN_COLUMNS]
    if not features:  # the texts are worth showing all the same
        features, frame = [NONE], frame.assign(**{NONE: 0.0})
    lead = (
        "The same problems, answered by each model."
        " What shades a word is the activation of a located feature there."
    )
    return Section("traces", "Traces", lead, (), [Markup(traces_html(frame, features))])
