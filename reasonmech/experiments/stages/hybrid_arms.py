"""Stage `arms`: the hybrid, its ceiling and its nulls, on the same problems, slips and noise."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cached_property
from typing import Final, Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from reasonmech.errors import ConfigError, DataError
from reasonmech.experiments.stages.arm_config import ArmConfig, check_controls, resolve_arms
from reasonmech.experiments.stages.arm_tables import (
    REFERENCES,
    ArmOutcome,
    arm_notes,
    arm_tables,
    generation_rows,
)
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.clamped import ClampedGroups, choose_clamped_groups
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.tables import Condition
from reasonmech.hybrid import (
    ORDER,
    Arm,
    Ingredients,
    Kinds,
    TrainedVectors,
    VectorConfig,
    percent_steered,
    train_vectors,
)
from reasonmech.hybrid.disagreements import clean_passes, find_disagreements
from reasonmech.rollout import Rollouts
from reasonmech.runtime import as_read_by, generate
from reasonmech.tasks import grade, tasks

# decoded before the others: random positions steer as many tokens per problem as `full` does, in texts like
# the base's
FIRST: Final = ("base", "full")


@stages.register("arms")  # the kind is what configurations on disk say
class RunArms(Stage):
    """Train category vectors on fitting problems, then let every arm answer the evaluation problems."""

    needs = ("rollouts", "coders", "groups")

    kind: Literal["arms"] = "arms"
    arms: tuple[str | ArmConfig, ...] = Field(
        ORDER,
        min_length=2,
        description="registered arms, base and thinking among them, and arms defined in place: "
        "{name, gate, selector, executor, control_for or no_control}",
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
        missing = [name for name in REFERENCES if name not in self.resolved]
        if missing:
            raise ConfigError(
                f"arms without {', '.join(missing)}", do="recovery is measured between these two"
            )
        check_controls(self.arms, self.no_control)
        return self

    @cached_property
    def resolved(self) -> dict[str, Arm]:
        """Name -> arm, in the order of the configuration."""
        return resolve_arms(self.arms)

    def run(self, context: StageContext) -> None:
        pair = context.pair
        kinds = tasks.get(context.problems.task).kinds(pair.base.tokenizer)
        trained = train_vectors(
            pair.base,
            self.site or _steering_site(context),
            read_rollouts(context, "thinking"),
            kinds=kinds,
            config=self._vector_config(context),
            progress=context.progress,
        )
        clamp = choose_clamped_groups(context, kinds)
        ingredients = Ingredients(
            pair,
            kinds,
            trained.vectors,
            clamp.executor(pair.base, len(kinds.names)),
            rate=0.0,
            seed=context.seed,
        )
        outcomes: dict[str, ArmOutcome] = {}
        for name in sorted(
            self.resolved, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)
        ):
            outcomes[name] = self._answer(context, name, ingredients, clamp)
            outcomes[name].rollouts.save(context.out / f"{name}.jsonl")
            if name == "full":
                rate = _steering_rate(outcomes["full"].rollouts, outcomes["base"].rollouts)
                ingredients = replace(ingredients, rate=rate)
        ordered = [outcomes[name] for name in self.resolved]
        context.write_conditions([outcome.condition for outcome in ordered])
        context.write_results(
            [*arm_tables(outcomes, ordered), _vector_rows(context, kinds, outcomes["thinking"], trained)]
        )
        context.write_notes(arm_notes(outcomes).lines)
        context.write_generations([row for outcome in ordered for row in generation_rows(outcome)])
        context.write_tensors({"category_vectors": trained.vectors.table})

    def _vector_config(self, context: StageContext) -> VectorConfig:
        """Under the experiment's seed, unless the configuration gives the vectors one of their own."""
        if "seed" in self.vectors.model_fields_set:
            return self.vectors
        return self.vectors.model_copy(update={"seed": context.seed})

    def _answer(
        self, context: StageContext, name: str, ingredients: Ingredients, clamp: ClampedGroups
    ) -> ArmOutcome:
        if name == "thinking":  # it has answered already, decoding as every arm does
            rollouts = read_rollouts(context, "study_thinking")
        else:
            decoder = self.resolved[name].decoder(ingredients)
            rollouts = generate(decoder, context.problems, decode=context.decode, progress=context.progress)
        if name not in REFERENCES and not percent_steered(rollouts).steered:
            raise DataError(
                f"arm {name!r} steered none of {percent_steered(rollouts).chosen} tokens: it is the base",
                do="look at its gate and its executor, or leave it out",
            )
        correct = grade(rollouts).reshape(len(context.problems), -1).mean(1)
        return ArmOutcome(self._condition(name, ingredients, clamp), rollouts, correct)

    def _condition(self, name: str, ingredients: Ingredients, clamp: ClampedGroups) -> Condition:
        arm, tags = self.resolved[name], {"study": "arms"}
        if name in REFERENCES:
            return Condition(name, name, tags=tags)
        nulls = ", ".join(other for other, null in self.resolved.items() if null.control_for == name)
        return Condition(
            name,
            "hybrid",
            self._fingerprint(name, ingredients, clamp),
            control_for=arm.control_for,
            control=nulls,
            no_control="" if nulls or arm.control_for else self.no_control.get(name) or arm.no_control,
            tags=tags,
        )

    def _fingerprint(self, name: str, ingredients: Ingredients, clamp: ClampedGroups) -> str:
        """Identity of an arm: its kind or its parts, the vectors and their site, the clamped features, the
        rate, the seed."""
        rate = ingredients.rate if self.resolved[name].control_for else 0.0
        parts = [name, ingredients.seed, rate, str(ingredients.vectors.site), clamp.to_json()]
        parts += [arm.parts for arm in self.arms if isinstance(arm, ArmConfig) and arm.name == name]
        digest = hashlib.sha256(json.dumps(parts).encode())
        digest.update(ingredients.vectors.table.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _steering_site(context: StageContext) -> str:
    layer = context.pair.steering_layer
    if layer is None:
        raise ConfigError(
            f"pair {context.pair.name!r} has no steering layer",
            do="give the stage `arms` a site, such as resid_post.1",
        )
    return f"resid_post.{layer}"


def _steering_rate(full: Rollouts, base: Rollouts) -> float:
    """Chance per token that steers as many tokens per problem as `full` does, in texts like the base's."""
    return min(1.0, percent_steered(full).steered / percent_steered(base).chosen)


def _vector_rows(
    context: StageContext, kinds: Kinds, thinking: ArmOutcome, trained: TrainedVectors
) -> pd.DataFrame:
    """How well the vectors do where they were not trained, and how often the pair disagrees there.

    The rate bounds what a disagreement gate steers only under greedy lockstep with the thinking model's own
    text.
    """
    host = context.pair.base
    rollouts = as_read_by(host, thinking.rollouts)
    rate = find_disagreements(list(clean_passes(host, rollouts)), rollouts, kinds).rate
    numbers = {"disagreement_rate": rate, "vector_agreement": trained.agreement}
    condition = thinking.condition
    return pd.concat([condition.rows(metric, [value], unit="share") for metric, value in numbers.items()])
