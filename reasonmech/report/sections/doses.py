"""Section of doses: what clamping and ablating the located features does."""

from __future__ import annotations

from typing import Final

import plotly.graph_objects as go
from pandas.api.types import is_numeric_dtype

from reasonmech.behaviours import defined
from reasonmech.experiments import Run
from reasonmech.report.frames import dose_frame, effect_frame, start_at_zero
from reasonmech.report.html import Column, Figure, Section, folded, number, percent, table, text
from reasonmech.report.sections.base import sections
from reasonmech.report.selectivity import selectivity_blocks
from reasonmech.viz import dose_curves

DOSE_AXIS: Final = "dose, × mean activation"
DOSE_CAPTION: Final = (
    "Probability that the base begins the behaviour next, teacher-forced on its own text, when the located "
    "features are clamped there. Grey: random features of the same coder, matched in firing rate and in "
    "strength."
)
EVERY_DOSE: Final = ("behaviour", "host", "verb", "place", "arm", "dose", "value", "low", "high", "kl")


@sections.register("doses")
def dose_section(run: Run) -> Section | None:
    """What clamping and ablating the located features does, beside matched random features."""
    frame = dose_frame(run)
    if frame.empty:
        return None
    curves = frame.loc[(frame.verb == "clamp") & (frame.host == "base")]
    figures = (
        [Figure("doses-figure", _name_dose_axis(dose_curves(start_at_zero(frame, curves))), DOSE_CAPTION)]
        if len(curves)
        else []
    )
    columns = (
        Column("behaviour", "behaviour", defined),
        Column("host", "host"),
        Column("verb", "verb"),
        Column("place", "where"),
        Column("untouched", "untouched", percent),
        Column("dose", "dose", number),
        Column("located", "located", percent),
        Column("interval", "95 % interval", text),
        Column("random", "random, at that dose", text),
        Column("worst_control", "worst random, any dose", percent),
        Column("worst_control_dose", "at dose", number),
        Column("kl", "KL, nats", number),
    )
    every = [Column(key, key, number if is_numeric_dtype(frame[key]) else None) for key in EVERY_DOSE]
    lead = (
        "A cause, not a correlation: the located features are written, and the behaviour moves or does not. "
        "KL is between the next-token distributions with and without the intervention, in nats a token."
    )
    blocks = [table(effect_frame(run), columns), *selectivity_blocks(run)]
    blocks.append(folded("Every dose and every control", table(frame, every)))
    return Section("doses", "What the features do", lead, figures, blocks)


def _name_dose_axis(figure: go.Figure) -> go.Figure:
    """Doses of a run are multiples of each feature's own mean activation, so that random features compare."""
    return figure.for_each_xaxis(lambda axis: axis.title.text and axis.update(title=DOSE_AXIS))
