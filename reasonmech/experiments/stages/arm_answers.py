"""What every arm of a run wrote on the evaluation problems, and what its controller decided."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from reasonmech.errors import DataError
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.arm_ingredients import neutral_texts
from reasonmech.experiments.stages.arm_steering import steering_rate
from reasonmech.experiments.stages.arm_tables import REFERENCES
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.files import write_text
from reasonmech.hybrid import (
    Arm,
    ControllerLog,
    Hybrid,
    Ingredients,
    PowerSampled,
    PowerTexts,
    Times,
    percent_steered,
)
from reasonmech.hybrid.side_effects import damage
from reasonmech.rollout import Rollouts
from reasonmech.runtime import generate

DRY_RUN: Final = 8  # problems on which a gate is tried out, where there are many to answer
WORTH_A_DRY_RUN: Final = 64
FULL_LOG: Final = "full_log.json"  # in the stage's folder: what the controller of `full` decided
# before the others: nulls of time steer as many tokens per problem as `full`, a text may be as long as
# the thinking model's
FIRST: Final = ("thinking", "base", "full")


class ArmDecoding(NamedTuple):
    """How hybrids decode.

    Attributes:
        draft: tokens that the base writes ahead (`Hybrid.drafting`).
        max_damage: nats by which an arm may move the next token of neutral text; None: any.
    """

    draft: int = 1
    max_damage: float | None = None

    def check(self, name: str, hybrid: Hybrid, context: StageContext) -> None:
        """Raise DataError where an arm does more damage than it may."""
        if self.max_damage is None:
            return
        nats = damage(hybrid.executor, neutral_texts(context), len(hybrid.categories))
        if nats > self.max_damage:
            raise DataError(
                f"arm {name!r} moves the next token of neutral text by {nats:.2f} nats",
                allowed=f"max_damage: {self.max_damage:g}",
                do="give smaller clamp_strengths, train weaker vectors, or raise max_damage of stage `arms`",
            )


class Answers(NamedTuple):
    """What arms wrote.

    Attributes:
        ingredients: with the rate and the times of the full arm.
        logs: what the hybrids' controllers decided; empty ones of arms without a controller.
        costs: what arms drew that draw more than they keep.
        hybrids: of the arms that are one, each as it wrote.
    """

    rollouts: dict[str, Rollouts]
    ingredients: Ingredients
    logs: dict[str, ControllerLog]
    costs: dict[str, PowerTexts]
    hybrids: dict[str, Hybrid]


def answer_all(
    context: StageContext,
    arms: Mapping[str, Arm],
    ingredients: Ingredients,
    ledger: Ledger,
    decoding: ArmDecoding,
) -> Answers:
    """Let every arm answer; what cannot be run is in the ledger with its cause.

    Raises:
        DataError: the base or the thinking model is missing, between which everything is measured.
    """
    answers: dict[str, Rollouts] = {}
    logs: dict[str, ControllerLog] = {}
    costs: dict[str, PowerTexts] = {}
    hybrids: dict[str, Hybrid] = {}
    for name in sorted(arms, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)):
        with ledger.attempt("arm", name):
            answers[name], logs[name], made = _answer(context, name, arms[name], ingredients, decoding)
            if isinstance(made, PowerTexts):
                costs[name] = made
            elif made is not None:
                hybrids[name] = made
            answers[name].save(context.out / f"{name}.jsonl")
            if name == "full":
                write_text(context.out / FULL_LOG, json.dumps(logs[name].to_json()))
        if name == "thinking" and name in answers:
            lengths = {(r.problem.id, r.sample): len(r.ids) for r in answers[name]}
            ingredients = replace(ingredients, lengths=lengths)
        if name == "full" and name in answers:
            rate = steering_rate(answers["full"], answers["base"])
            times = Times.of(answers["full"], logs["full"], ingredients.kinds)
            ingredients = replace(ingredients, rate=rate, times=times)
        elif cause := ledger.cause("arm", name):
            if name in REFERENCES:
                raise cause.as_error()
            if name == "full":
                missing = dict.fromkeys(("rate", "times"), cause.of_item("arm full").as_error())
                ingredients = replace(ingredients, absent={**ingredients.absent, **missing})
    return Answers(answers, ingredients, logs, costs, hybrids)


def _check_closes(name: str, tried: Rollouts) -> None:
    """Raise DataError where a gate opened at every token: that is no timing, and a null of it none."""
    n = percent_steered(tried)
    if n.steered == n.chosen:
        raise DataError(
            f"arm {name!r} steers all {n.chosen} tokens of {len(tried)} texts: its gate is always open",
            allowed="a gate that closes",
            do="give its gate a smaller rate, or leave it out; a null at random positions that is to "
            "steer as many tokens as `full` cannot where the base's texts are shorter than that",
        )


def _answer(
    context: StageContext, name: str, arm: Arm, ingredients: Ingredients, decoding: ArmDecoding
) -> tuple[Rollouts, ControllerLog, PowerTexts | Hybrid | None]:
    """What an arm wrote, what its controller decided, and what it drew where it draws more than it keeps, or
    the hybrid that it is."""
    if name == "thinking":  # it has answered already, decoding as every arm does
        return read_rollouts(context, "study_thinking"), ControllerLog(), None
    decoder = arm.decoder(ingredients)
    log = ControllerLog(decoder.categories if isinstance(decoder, Hybrid) else ())
    if isinstance(decoder, PowerSampled):
        cost = decoder.write(context.problems, context.decode, progress=context.progress)
        return cost.rollouts, log, cost
    is_hybrid = isinstance(decoder, Hybrid)
    if isinstance(decoder, Hybrid):
        decoding.check(name, decoder, context)
        if len(context.problems) > WORTH_A_DRY_RUN:
            few = context.problems[:DRY_RUN]
            _check_closes(name, generate(decoder, few, decode=context.decode, progress=False))
        decoder = decoder.logged(log).drafting(decoding.draft)
    rollouts = generate(decoder, context.problems, decode=context.decode, progress=context.progress)
    if is_hybrid:
        _check_closes(name, rollouts)
    if is_hybrid and not arm.silent and not percent_steered(rollouts).steered:
        raise DataError(
            f"arm {name!r} steered none of {percent_steered(rollouts).chosen} tokens: it is the base",
            do="look at its gate and its executor, or leave it out",
        )
    return rollouts, log, decoder if isinstance(decoder, Hybrid) else None
