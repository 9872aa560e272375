"""Where arms steered, token by token, and some problems as base, hybrids and thinking model answered them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from reasonmech.experiments.stages.arm_tables import REFERENCES, ArmOutcome
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.tables import STEERED_PLACES_FILE, STEERED_TEXTS_FILE
from reasonmech.hosts import characters
from reasonmech.hybrid import ControllerLog, Ingredients
from reasonmech.hybrid.log import steered_offsets
from reasonmech.locate.feature_summary.tokens import whole_characters
from reasonmech.rollout import Rollout
from reasonmech.tasks import grade

SHOWN: Final = ("base", "full", "clamp", "takeover", "thinking")  # arms that are shown, those that were run
PLACES: Final = ("condition", "problem", "sample", "offset", "n_tokens", "category", "text", "instead")
TEXTS: Final = (
    "condition",
    "problem",
    "correct",
    "offset",
    "text",
    "environment",
    "steered",
    "category",
    "instead",
)


def write_steered(
    context: StageContext,
    outcomes: Mapping[str, ArmOutcome],
    logs: Mapping[str, ControllerLog],
    ingredients: Ingredients,
    *,
    n: int,
) -> None:
    """Write both tables; n problems are shown."""
    context.write_table(steered_places(outcomes, logs, ingredients), STEERED_PLACES_FILE)
    context.write_table(steered_texts(outcomes, logs, ingredients, n=n), STEERED_TEXTS_FILE)


def steered_places(
    outcomes: Mapping[str, ArmOutcome], logs: Mapping[str, ControllerLog], ingredients: Ingredients
) -> pd.DataFrame:
    """One row per token at which an arm's controller acted.

    Columns: offset from the first generated token, n_tokens of the text, category that the selector named,
    text of the token that was written, and of the one that the base would have written instead.
    """
    rows: list[dict[str, Any]] = []
    for name, outcome in outcomes.items():
        if not logs[name].choices:
            continue
        for rollout in outcome.rollouts:
            of_text = {
                "condition": name,
                "problem": rollout.problem.id,
                "sample": rollout.sample,
                "n_tokens": len(rollout.ids),
            }
            for offset in steered_offsets(rollout):
                written = _name(ingredients, rollout.ids[offset])
                decided = _decided(rollout, offset, logs[name], ingredients)
                rows.append(of_text | {"offset": offset, "text": written} | decided)
    return pd.DataFrame(rows, columns=list(PLACES))


def steered_texts(
    outcomes: Mapping[str, ArmOutcome],
    logs: Mapping[str, ControllerLog],
    ingredients: Ingredients,
    *,
    n: int,
) -> pd.DataFrame:
    """Every token of up to n problems, arm by arm; first those that the two models answer differently.

    A run without any of the arms `SHOWN` shows its first hybrid. The first sample of a problem is shown.
    """
    names = [name for name in SHOWN if name in outcomes]
    if {*names} <= {*REFERENCES}:
        names[1:1] = [name for name in outcomes if logs[name].choices][:1]
    rows = [
        row
        for problem in _problems(outcomes, n)
        for name in names
        for row in _tokens(name, outcomes[name], problem, logs[name], ingredients)
    ]
    return pd.DataFrame(rows, columns=list(TEXTS))


def _problems(outcomes: Mapping[str, ArmOutcome], n: int) -> Sequence[int]:
    """Numbers of the problems to show: those with the largest difference between the models, in order."""
    differs = np.abs(outcomes["thinking"].correct - outcomes["base"].correct)
    return sorted(np.argsort(-differs, kind="stable")[:n].tolist())


def _tokens(
    name: str, outcome: ArmOutcome, problem: int, log: ControllerLog, ingredients: Ingredients
) -> Iterator[dict[str, Any]]:
    samples = len(outcome.rollouts) // len(outcome.correct)
    rollout = outcome.rollouts[problem * samples]
    correct = bool(grade(outcome.rollouts[problem * samples : problem * samples + 1])[0])
    pieces = whole_characters(characters.token_pieces(ingredients.pair.thinking.tokenizer, rollout.ids))
    steered = {*steered_offsets(rollout)}
    for offset, piece in enumerate(pieces):
        acted = _decided(rollout, offset, log, ingredients) if offset in steered and log.choices else {}
        yield {
            "condition": name,
            "problem": rollout.problem.id,
            "correct": correct,
            "offset": offset,
            "text": piece,
            "environment": rollout.by_environment[offset],
            "steered": offset in steered,
            "category": "",
            "instead": "",
        } | acted


def _decided(rollout: Rollout, offset: int, log: ControllerLog, ingredients: Ingredients) -> dict[str, str]:
    """What the controller decided at a token, and what the base would have written there."""
    choice = log.at(rollout, offset)
    token = choice.base_token
    instead = "" if token in (-1, rollout.ids[offset]) else _name(ingredients, token)
    names = log.categories or ingredients.kinds.names
    return {"category": names[choice.category], "instead": instead}


def _name(ingredients: Ingredients, token: int) -> str:
    return characters.token_name(ingredients.pair.thinking.tokenizer, token)
