"""Section of side effects: what arms do beside closing the gap."""

from __future__ import annotations

from reasonmech.experiments import Run
from reasonmech.report.frames import side_effect_frame
from reasonmech.report.html import Column, Section, number, percent, table
from reasonmech.report.sections.base import sections


@sections.register("side-effects")
def side_effects_section(run: Run) -> Section | None:
    """What the texts of every arm are like, and what its steering does where nothing asks for it."""
    frame = side_effect_frame(run)
    if frame.empty:
        return None
    columns = (
        Column("condition", "arm"),
        Column("mean_length", "tokens", number),
        Column("eos_rate", "texts that end", percent),
        Column("repetition", "4-grams repeated", percent),
        Column("surprise", "surprise of the base, nats per token", number),
        Column("dose", "dose, nats per token", number),
        Column("dose_steered", "per steered token", number),
        Column("damage", "damage, nats", number),
    )
    lead = (
        "Surprise: -log p of the text under the unsteered base. Dose: KL of the steered from the unsteered "
        "next token, over all tokens that models chose in the texts that were really written. Damage: the "
        "same KL at tokens of fitting texts drawn blind, where nothing asks for steering; arms that hand "
        "tokens over have none."
    )
    return Section("side-effects", "Side effects", lead, (), [table(frame, columns)])
