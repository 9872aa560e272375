"""How much of a pair's text is steered: the rate of an arm, and the pair's disagreement rate beside it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reasonmech.experiments.stages.arm_tables import ArmOutcome
from reasonmech.hosts import ModelPair
from reasonmech.hybrid import (
    Arm,
    Bits,
    ControllerLog,
    Kinds,
    TrainedVectors,
    bits_passed,
    percent_steered,
)
from reasonmech.hybrid.disagreements import clean_passes, find_disagreements
from reasonmech.rollout import Rollouts
from reasonmech.runtime import as_read_by


def steering_rate(full: Rollouts, base: Rollouts) -> float:
    """Chance per token that steers as many tokens per problem as `full` does, in texts like the base's."""
    return min(1.0, percent_steered(full).steered / percent_steered(base).chosen)


def bits_rows(
    outcomes: Mapping[str, ArmOutcome],
    logs: Mapping[str, ControllerLog],
    kinds: Kinds,
    arms: Mapping[str, Arm],
) -> list[pd.DataFrame]:
    """Rows of the run's long table: bits per rollout that a controller passes to the base.

    `bits_gate` (whether), `bits_choice` (which category or, under takeover, which token) and `bits_passed`,
    their sum; 0 for arms whose controller reads no thinking model. Without a controller there is none.
    """
    tables = []
    for name, outcome in outcomes.items():
        if not logs[name].choices:
            continue
        bits = bits_passed(outcome.rollouts, logs[name], kinds)
        if not arms[name].oracle:
            bits = Bits(0.0, 0.0)
        for metric, value in {"gate": bits.gate, "choice": bits.choice, "passed": bits.total}.items():
            tables.append(outcome.condition.rows(f"bits_{metric}", [value], unit="bits"))
    return tables


def vector_rows(
    pair: ModelPair, kinds: Kinds, thinking: ArmOutcome, trained: TrainedVectors | None
) -> pd.DataFrame:
    """How well the vectors do where they were not trained, and how often the pair disagrees there.

    The rate bounds what a disagreement gate steers only under greedy lockstep with the thinking model's own
    text.
    """
    rollouts = as_read_by(pair.base, thinking.rollouts)
    rate = find_disagreements(list(clean_passes(pair.base, rollouts)), rollouts, kinds).rate
    numbers = {"disagreement_rate": rate}
    if trained is not None:
        numbers["vector_agreement"] = trained.agreement
    condition = thinking.condition
    return pd.concat([condition.rows(metric, [value], unit="share") for metric, value in numbers.items()])
