"""Stage `arms`: the hybrid, its ceiling and its nulls, on the same problems, slips and noise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from reasonmech.errors import ConfigError, DataError
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.clamped import ClampedGroups, choose_clamped_groups
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.tables import Condition, Counts
from reasonmech.hybrid import (
    ORDER,
    Ingredients,
    Kinds,
    TrainedVectors,
    VectorConfig,
    arms,
    percent_steered,
    train_vectors,
)
from reasonmech.hybrid.disagreements import clean_passes, find_disagreements
from reasonmech.rollout import Rollouts
from reasonmech.runtime import generate
from reasonmech.stats import mean_interval, recovery
from reasonmech.tasks import grade, parse, tasks

REFERENCES = ("base", "thinking")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one arm did.

    Attributes:
        correct: [problem] share of right answers.
    """

    condition: Condition
    rollouts: Rollouts
    correct: np.ndarray


@stages.register("arms")
class RunArms(Stage):
    """Train category vectors on fitting problems, then let every arm answer the evaluation problems."""

    needs = ("rollouts", "coders", "groups")

    kind: Literal["arms"] = "arms"
    arms: tuple[str, ...] = Field(
        ORDER, min_length=2, description="registered arms; base and thinking among them"
    )
    site: str = Field("", description="where the base is steered; empty: after the pair's steering layer")
    vectors: VectorConfig = Field(
        default_factory=VectorConfig, description="how category vectors are trained"
    )
    no_control: dict[str, str] = Field(
        {"clamp": "random features are clamped in stage `study` only, at single moments, not by this gate"},
        description="arm -> why none of its nulls is run",
    )

    @model_validator(mode="after")
    def _controlled(self) -> Self:
        missing = [name for name in REFERENCES if name not in self.arms]
        if missing:
            raise ConfigError(
                f"arms without {', '.join(missing)}", do="recovery is measured between these two"
            )
        known = {name: arms.get(name) for name in self.arms}
        for name, arm in known.items():
            if arm.control_for and arm.control_for not in known:
                raise ConfigError(
                    f"arm {name!r} is a null of {arm.control_for!r}, which is not run",
                    do="run both, or neither",
                )
        for name in self.arms:
            nulls = [kind for kind in arms.kinds() if arms.get(kind).control_for == name]
            if nulls and not set(nulls) & known.keys() and not self.no_control.get(name):
                raise ConfigError(
                    f"arm {name!r} runs without a control",
                    allowed=f"one of {', '.join(nulls)}, or no_control: {{{name}: reason}}",
                )
        return self

    def run(self, context: StageContext) -> None:
        pair = context.pair
        kinds = tasks.get(context.problems.task).kinds(pair.base.tokenizer)
        trained = train_vectors(
            pair.base,
            self.site or _steering_site(context),
            read_rollouts(context, "thinking"),
            kinds=kinds,
            config=self._vectors(context),
            progress=context.progress,
        )
        clamp = choose_clamped_groups(context, kinds)
        given = Ingredients(
            pair,
            kinds,
            trained.vectors,
            clamp.executor(pair.base, len(kinds.names)),
            rate=0.0,
            seed=context.seed,
        )
        outcomes: dict[str, Outcome] = {}
        first = (
            "base",
            "full",
        )  # random positions steer as many tokens per problem as `full`, in texts like the base's
        for name in sorted(self.arms, key=lambda name: first.index(name) if name in first else len(first)):
            outcomes[name] = self._answer(context, name, given, clamp)
            outcomes[name].rollouts.save(context.out / f"{name}.jsonl")
            if name == "full":
                given = replace(given, rate=_rate(outcomes[name].rollouts, outcomes["base"].rollouts))
        ordered = [outcomes[name] for name in self.arms]
        context.write_conditions([outcome.condition for outcome in ordered])
        context.write_results(
            [*_tables(outcomes, ordered), _fit(context, kinds, outcomes["thinking"], trained)]
        )
        context.write_notes(_notes(outcomes))
        context.write_generations([row for outcome in ordered for row in _generations(outcome)])
        context.write_tensors({"category_vectors": trained.vectors.table})

    def _vectors(self, context: StageContext) -> VectorConfig:
        """Under the experiment's seed, unless the configuration gives the vectors one of their own."""
        if "seed" in self.vectors.model_fields_set:
            return self.vectors
        return self.vectors.model_copy(update={"seed": context.seed})

    def _answer(self, context: StageContext, name: str, given: Ingredients, clamp: ClampedGroups) -> Outcome:
        if name == "thinking":  # it has answered already, decoding as every arm does
            rollouts = read_rollouts(context, "study_thinking")
        else:
            decoder = arms.get(name).decoder(given)
            rollouts = generate(decoder, context.problems, decode=context.decode, progress=context.progress)
        if name not in REFERENCES and not percent_steered(rollouts).steered:
            raise DataError(
                f"arm {name!r} steered none of {percent_steered(rollouts).chosen} tokens: it is the base",
                do="look at its gate and its executor, or leave it out",
            )
        correct = grade(rollouts).reshape(len(context.problems), -1).mean(1)
        return Outcome(self._condition(name, given, clamp), rollouts, correct)

    def _condition(self, name: str, given: Ingredients, clamp: ClampedGroups) -> Condition:
        arm, tags = arms.get(name), {"study": "arms"}
        if name in REFERENCES:
            return Condition(name, name, tags=tags)
        nulls = ", ".join(kind for kind in self.arms if arms.get(kind).control_for == name)
        return Condition(
            name,
            "hybrid",
            _fingerprint(name, given, clamp),
            control_for=arm.control_for,
            control=nulls,
            no_control="" if nulls or arm.control_for else self.no_control.get(name) or arm.why_no_control,
            tags=tags,
        )


def _steering_site(context: StageContext) -> str:
    layer = context.pair.steering_layer
    if layer is None:
        raise ConfigError(
            f"pair {context.pair.name!r} has no steering layer",
            do="give the stage `arms` a site, such as resid_post.1",
        )
    return f"resid_post.{layer}"


def _rate(full: Rollouts, base: Rollouts) -> float:
    """Chance per token that steers as many tokens per problem as `full` does, in texts as long as the
    base's."""
    return min(1.0, percent_steered(full).steered / percent_steered(base).chosen)


def _fingerprint(name: str, given: Ingredients, clamp: ClampedGroups) -> str:
    """Identity of an arm: its kind, the vectors and where they go, the clamped features, the rate, the
    seed."""
    rate = given.rate if arms.get(name).control_for else 0.0
    parts = [name, given.seed, rate, str(given.vectors.site), clamp.to_json()]
    digest = hashlib.sha256(json.dumps(parts).encode())
    digest.update(given.vectors.table.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _equal_base(outcome: Outcome, base: Outcome) -> float:
    """Share of rollouts whose tokens are those of the base."""
    return float(np.mean([a.ids == b.ids for a, b in zip(outcome.rollouts, base.rollouts, strict=True)]))


def _notes(outcomes: Mapping[str, Outcome]) -> list[str]:
    base, thinking = outcomes["base"], outcomes["thinking"]
    notes = [
        f"arm {name} writes what the base writes on every problem: it is alive in its dose, not in its "
        "outcome"
        for name, outcome in outcomes.items()
        if name not in REFERENCES and _equal_base(outcome, base) == 1
    ]
    found = recovery(base.correct, thinking.correct, thinking.correct)
    if found.weak:
        notes.append(
            f"the gap is {found.gap.estimate:+.3f}, at most 4 standard errors: read the gap, not the recovery"
        )
    return notes


def _tables(outcomes: Mapping[str, Outcome], ordered: Sequence[Outcome]) -> list[pd.DataFrame]:
    base, thinking = outcomes["base"].correct, outcomes["thinking"].correct
    tables = []
    for outcome in ordered:
        condition, rollouts = outcome.condition, outcome.rollouts
        steered = percent_steered(rollouts)
        counts = Counts(sum(len(r.ids) for r in rollouts), steered.chosen, steered.steered)
        tables.append(
            condition.rows(
                "accuracy",
                [float(value) for value in grade(rollouts)],
                unit="share",
                problems=[r.problem.id for r in rollouts],
                samples=[r.sample for r in rollouts],
            )
        )
        interval = mean_interval(outcome.correct)
        numbers = {
            "accuracy": interval.estimate,
            "accuracy.low": interval.low,
            "accuracy.high": interval.high,
        }
        if condition.name not in REFERENCES:
            found = recovery(base, thinking, outcome.correct)
            numbers |= {"recovery": found.estimate, "recovery.low": found.low, "recovery.high": found.high}
        numbers |= {
            "percent_steered": steered.share,
            "rows_equal_base": _equal_base(outcome, outcomes["base"]),
            "eos_rate": float(np.mean([r.stop == "eos" for r in rollouts])),
        }
        tables += [
            condition.rows(metric, [value], unit="share", counts=counts) for metric, value in numbers.items()
        ]
        tables.append(condition.rows("steered_per_problem", [steered.steered / len(rollouts)], unit="tokens"))
        tables.append(
            condition.rows("mean_length", [float(np.mean([len(r.ids) for r in rollouts]))], unit="tokens")
        )
    return tables


def _fit(context: StageContext, kinds: Kinds, thinking: Outcome, trained: TrainedVectors) -> pd.DataFrame:
    """How well the vectors do where they were not trained, and how often the pair disagrees on the evaluation
    text.

    The rate bounds what a disagreement gate steers only under greedy lockstep with the thinking model's own
    text.
    """
    host, rollouts = context.pair.base, list(thinking.rollouts)
    rate = find_disagreements(list(clean_passes(host, rollouts)), rollouts, kinds).rate
    numbers = {"disagreement_rate": rate, "vector_agreement": trained.agreement}
    condition = thinking.condition
    return pd.concat([condition.rows(metric, [value], unit="share") for metric, value in numbers.items()])


def _generations(outcome: Outcome) -> list[dict[str, object]]:
    """Lines of generations.jsonl: ids, text, spans, stop reason, and who wrote which token."""
    rows = []
    for rollout, trace, correct in zip(
        outcome.rollouts, parse(outcome.rollouts), grade(outcome.rollouts), strict=True
    ):
        rows.append(
            {
                "host": outcome.condition.host,
                "condition": outcome.condition.name,
                "problem": rollout.problem.id,
                "sample": rollout.sample,
                "prompt": rollout.problem.prompt,
                "text": rollout.text,
                "ids": rollout.ids,
                "by_environment": [t for t, flag in enumerate(rollout.by_environment) if flag],
                "steered": [t for t, flag in enumerate(rollout.steered) if flag],
                "spans": [{"kind": s.kind, "start": s.start, "stop": s.stop} for s in trace.sentences],
                "stop": rollout.stop,
                "correct": bool(correct),
            }
        )
    return rows
