"""Section of texts: where arms steer, and problems as base, hybrids and thinking model answered them."""

from __future__ import annotations

from markupsafe import Markup

from reasonmech.experiments import Run
from reasonmech.frames import rows_where
from reasonmech.report.html import Figure, Section
from reasonmech.report.sections.base import sections
from reasonmech.viz import steered_html, steering_places


@sections.register("texts")
def texts_section(run: Run) -> Section | None:
    """Side by side, with what was steered and what the base would have written there."""
    places, texts = run.steered_places, run.steered_texts
    if places.empty and texts.empty:
        return None
    figures = []
    controls = {condition["name"] for condition in run.record["conditions"] if condition.get("control_for")}
    places = rows_where(places, ~places["condition"].isin(sorted(controls))) if len(places) else places
    if len(places):
        caption = "Where in their text the tokens stand that an arm steers; controls are left out."
        figures.append(Figure("steering-figure", steering_places(places), caption))
    lead = (
        "Problems that the two models answer most differently, as each arm answered them. Where tokens are "
        "marked the arm acted on the base; the first words of sentences among them are what is handed over."
    )
    blocks = [] if texts.empty else [Markup(steered_html(texts))]
    return Section("texts", "Steered texts, side by side", lead, figures, blocks)
