"""How much of a pair's text is steered: the rate of an arm, and the pair's disagreement rate beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.arm_ingredients import neutral_texts
from reasonmech.experiments.stages.arm_tables import REFERENCES, ArmOutcome
from reasonmech.experiments.stages.base import Notes, StageContext
from reasonmech.hosts import ModelPair
from reasonmech.hybrid import (
    Arm,
    Bits,
    ControllerLog,
    Guarded,
    Hybrid,
    Ingredients,
    Kinds,
    PowerTexts,
    TrainedVectors,
    bits_passed,
    percent_steered,
)
from reasonmech.hybrid.disagreements import clean_passes, find_disagreements
from reasonmech.hybrid.side_effects import damage, side_effects
from reasonmech.rollout import Rollouts
from reasonmech.runtime import as_read_by


def steering_rate(full: Rollouts, base: Rollouts) -> float:
    """Chance per token that steers as many tokens per problem as `full` does, in texts like the base's."""
    return min(1.0, percent_steered(full).steered / percent_steered(base).chosen)


def bits_rows(
    outcomes: Mapping[str, ArmOutcome],
    logs: Mapping[str, ControllerLog],
    arms: Mapping[str, Arm],
    hybrids: Mapping[str, Hybrid],
    ingredients: Ingredients,
) -> list[pd.DataFrame]:
    """Rows of the run's long table: bits per rollout that the thinking model passes to the base.

    `bits_gate` (whether), `bits_choice` (which category or, under takeover, which token; or what was said
    before the text) and `bits_passed`, their sum; 0 for arms that know nothing of the thinking model.
    """
    tables = []
    for name, outcome in outcomes.items():
        arm = arms[name]
        if name in REFERENCES or (arm.oracle and arm.bits is None and not logs[name].choices):
            continue
        bits = Bits(0.0, 0.0 if arm.bits is None else arm.bits(ingredients))
        if arm.oracle and logs[name].choices:
            bits = bits_passed(outcome.rollouts, logs[name], ingredients.kinds)
            executor = hybrids[name].executor if name in hybrids else None
            if isinstance(executor, Guarded):
                steered = percent_steered(outcome.rollouts).steered / len(outcome.rollouts)
                bits = bits._replace(choice=bits.choice + steered * math.log2(executor.candidates))
        for metric, value in {"gate": bits.gate, "choice": bits.choice, "passed": bits.total}.items():
            tables.append(outcome.condition.rows(f"bits_{metric}", [value], unit="bits"))
    return tables


def cost_rows(
    outcomes: Mapping[str, ArmOutcome], costs: Mapping[str, PowerTexts], notes: Notes
) -> list[pd.DataFrame]:
    """Rows of arms that draw more tokens than they keep: `tokens_drawn` per token kept, `acceptance`."""
    tables = []
    for name, texts in costs.items():
        condition = outcomes[name].condition
        tables.append(condition.rows("tokens_drawn", [texts.cost], unit="tokens per token kept"))
        tables.append(condition.rows("acceptance", [texts.acceptance], unit="share"))
        notes.add_remark(
            f"arm {name} drew {texts.cost:.1f} tokens per token kept, and accepted {texts.acceptance:.0%} of "
            "its moves"
        )
    return tables


def side_effect_rows(
    context: StageContext,
    outcomes: Mapping[str, ArmOutcome],
    logs: Mapping[str, ControllerLog],
    hybrids: Mapping[str, Hybrid],
    measured: tuple[Ledger, int | None],
) -> list[pd.DataFrame]:
    """Rows of the run's long table: what the texts of every arm are like, and what it does to neutral text.

    `repetition`, `surprise`, `dose`, `dose_steered` (`hybrid.side_effects`), and `damage` of arms that edit
    the base.

    Args:
        measured: takes what fails; and how many texts of each arm the base reads again (None: all).
    """
    texts, tables, (ledger, read) = neutral_texts(context), [], measured
    for name, outcome in outcomes.items():
        with ledger.attempt("side effects", name):
            effects = side_effects(context.pair.base, outcome.rollouts, logs[name], read=read)
            numbers = {
                "repetition": (effects.repetition, "share"),
                "surprise": (effects.surprise, "nats per token"),
                "dose": (effects.dose, "nats per token"),
                "dose_steered": (effects.dose_steered, "nats"),
            }
            if (hybrid := hybrids.get(name)) is not None:
                nats = damage(hybrid.executor, texts, len(hybrid.categories))
                numbers["damage"] = (nats, "nats")
            tables += [
                outcome.condition.rows(metric, [value], unit=unit)
                for metric, (value, unit) in numbers.items()
                if not math.isnan(value)
            ]
    return tables


def vector_rows(
    pair: ModelPair, kinds: Kinds, thinking: ArmOutcome, trained: TrainedVectors | None
) -> pd.DataFrame:
    """How well the vectors do where they were not trained, and how often the pair disagrees there.

    The rate bounds what a disagreement gate steers only under greedy lockstep with the thinking model's own
    text.
    """
    rollouts = as_read_by(pair.base, thinking.rollouts)
    rate = find_disagreements(clean_passes(pair.base, rollouts), rollouts, kinds).rate
    numbers = {"disagreement_rate": rate}
    if trained is not None:
        numbers["vector_agreement"] = trained.agreement
    condition = thinking.condition
    return pd.concat([condition.rows(metric, [value], unit="share") for metric, value in numbers.items()])
