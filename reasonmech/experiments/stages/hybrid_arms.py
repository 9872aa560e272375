"""Stage `arms`: the hybrid, its ceiling and its nulls, on the same problems, slips and noise."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cached_property
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from reasonmech.errors import ConfigError, DataError
from reasonmech.experiments.ledger import Cause, Ledger
from reasonmech.experiments.stages.arm_config import ArmConfig, check_controls, resolve_arms
from reasonmech.experiments.stages.arm_pairs import (
    arm_pairs,
    first_word_rows,
    pair_notes,
    pair_table,
    steered_first_words,
)
from reasonmech.experiments.stages.arm_steering import steering_rate, vector_rows
from reasonmech.experiments.stages.arm_tables import (
    REFERENCES,
    ArmOutcome,
    arm_notes,
    arm_tables,
    generation_rows,
)
from reasonmech.experiments.stages.base import Notes, Stage, StageContext, stages
from reasonmech.experiments.stages.clamped import ClampedGroups, tune_clamp, without_clamp
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.tables import ARM_PAIRS_FILE, Condition
from reasonmech.hosts import ModelPair
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
from reasonmech.rollout import OTHER, Rollouts
from reasonmech.runtime import generate
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

    clamp_strengths: tuple[float, ...] = Field(
        (1.0, 0.5), min_length=1, description="multiples of the groups' doses that the clamp is tried at"
    )
    tuning: int = Field(
        40,
        gt=0,
        description="problems of the tuning split on which coder and strength of the clamp are chosen, and a "
        "clamp that runs away is refused",
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
        kinds, ledger, notes = _kinds(context), Ledger(), Notes()
        vectors = self._train(context, kinds, ledger)
        ingredients = Ingredients(
            context.pair,
            kinds,
            None if vectors is None else vectors.vectors,
            clamp=None,
            rate=None,
            seed=context.seed,
            absent=_absent(ledger, "vectors"),
        )
        clamp = self._clamp(context, ingredients, ledger, notes)
        ingredients = replace(
            ingredients,
            clamp=None if clamp is None else clamp.executor(context.pair.base, len(kinds.names)),
            absent={**ingredients.absent, **_absent(ledger, "clamp")},
        )
        answers, ingredients = self._answers(context, ingredients, ledger)
        outcomes = {
            name: ArmOutcome(
                self._condition(name, ingredients, clamp, ledger),
                rollouts,
                grade(rollouts).reshape(len(context.problems), -1).mean(1),
            )
            for name, rollouts in answers.items()
        }
        ordered = [outcomes[name] for name in self.resolved if name in outcomes]
        context.write_conditions([outcome.condition for outcome in ordered])
        pairs = arm_pairs({outcome.condition.name: outcome for outcome in ordered})
        words = steered_first_words(outcomes, kinds)
        context.write_table(pair_table(pairs), ARM_PAIRS_FILE)
        tables = [*arm_tables(outcomes, ordered), *first_word_rows(outcomes, words)]
        context.write_results([*tables, vector_rows(context.pair, kinds, outcomes["thinking"], vectors)])
        context.write_notes([*pair_notes(pairs, words).lines, *notes.lines, *arm_notes(outcomes).lines])
        context.write_ledger(ledger)
        context.write_generations([row for outcome in ordered for row in generation_rows(outcome)])
        if vectors is not None:
            context.write_tensors({"category_vectors": vectors.vectors.table})

    def check_pair(self, pair: ModelPair, task: str) -> None:
        pair.base.check_site(self.site or _steering_site(pair))

    def _train(self, context: StageContext, kinds: Kinds, ledger: Ledger) -> TrainedVectors | None:
        """Category vectors; None, and in the ledger why, where there are none."""
        config = self._vector_config(context)
        with ledger.attempt("ingredient", "vectors"):
            trained = train_vectors(
                context.pair.base,
                self.site or _steering_site(context.pair),
                read_rollouts(context, "thinking"),
                kinds=kinds,
                config=config,
                progress=context.progress,
            )
            for name, n in trained.counts.items():
                item = f"vector of category {name}"
                if n and name != OTHER:
                    ledger.plan("category", item)
                if 0 < n < config.min_count and name != OTHER:
                    few = f"{n} disagreements to train it on, of {config.min_count} that it takes"
                    advice = "use more fitting problems, or lower vectors.min_count"
                    ledger.miss("category", item, cause=Cause("DataError", few, do=advice))
            return trained
        return None

    def _clamp(
        self, context: StageContext, ingredients: Ingredients, ledger: Ledger, notes: Notes
    ) -> ClampedGroups | None:
        """Clamped features, chosen on tuning problems; None, and in the ledger why, where there are none."""
        if not self._may_clamp():
            return None
        with ledger.attempt("ingredient", "clamp"):
            tuned = tune_clamp(context, ingredients, notes, strengths=self.clamp_strengths, n=self.tuning)
            for behaviour, cause in without_clamp(context, tuned).items():
                ledger.miss("category", f"clamp of {behaviour}", cause=cause)
            return tuned
        return None

    def _may_clamp(self) -> bool:
        """Whether an arm can ask for clamped features: arms of plug-ins can."""
        defined = [arm for arm in self.arms if isinstance(arm, ArmConfig)]
        named = [arm for arm in self.arms if isinstance(arm, str)]
        return any((arm.executor or {}).get("kind") == "clamp" for arm in defined) or any(
            name == "clamp" or name not in ORDER for name in named
        )

    def _vector_config(self, context: StageContext) -> VectorConfig:
        """Under the experiment's seed, unless the configuration gives the vectors one of their own."""
        if "seed" in self.vectors.model_fields_set:
            return self.vectors
        return self.vectors.model_copy(update={"seed": context.seed})

    def _answers(
        self, context: StageContext, ingredients: Ingredients, ledger: Ledger
    ) -> tuple[dict[str, Rollouts], Ingredients]:
        """What every arm that can be run wrote, and the ingredients with the rate of the full arm.

        Raises:
            DataError: the base or the thinking model is missing, between which everything is measured.
        """
        answers: dict[str, Rollouts] = {}
        for name in sorted(
            self.resolved, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)
        ):
            with ledger.attempt("arm", name):
                answers[name] = self._answer(context, name, ingredients)
                answers[name].save(context.out / f"{name}.jsonl")
            if name == "full" and name in answers:
                rate = steering_rate(answers["full"], answers["base"])
                ingredients = replace(ingredients, rate=rate)
            elif cause := ledger.cause("arm", name):
                if name in REFERENCES:
                    raise cause.as_error()
                if name == "full":
                    absent = {"rate": cause.of_item("arm full").as_error()}
                    ingredients = replace(ingredients, absent={**ingredients.absent, **absent})
        return answers, ingredients

    def _answer(self, context: StageContext, name: str, ingredients: Ingredients) -> Rollouts:
        if name == "thinking":  # it has answered already, decoding as every arm does
            return read_rollouts(context, "study_thinking")
        decoder = self.resolved[name].decoder(ingredients)
        rollouts = generate(decoder, context.problems, decode=context.decode, progress=context.progress)
        if name not in REFERENCES and not percent_steered(rollouts).steered:
            raise DataError(
                f"arm {name!r} steered none of {percent_steered(rollouts).chosen} tokens: it is the base",
                do="look at its gate and its executor, or leave it out",
            )
        return rollouts

    def _condition(
        self, name: str, ingredients: Ingredients, clamp: ClampedGroups | None, ledger: Ledger
    ) -> Condition:
        arm, tags = self.resolved[name], {"study": "arms"}
        if name in REFERENCES:
            return Condition(name, name, tags=tags)
        planned = [other for other, null in self.resolved.items() if null.control_for == name]
        nulls = [other for other in planned if ledger.cause("arm", other) is None]
        missing = [other for other in planned if other not in nulls]
        reason = self.no_control.get(name) or arm.no_control
        if missing:
            reason = f"its nulls are missing: {', '.join(missing)}"
        return Condition(
            name,
            "hybrid",
            self._fingerprint(name, ingredients, clamp),
            control_for=arm.control_for,
            control=", ".join(nulls),
            no_control="" if nulls or arm.control_for else reason,
            tags=tags,
        )

    def _fingerprint(self, name: str, ingredients: Ingredients, clamp: ClampedGroups | None) -> str:
        """Identity of an arm: its kind or its parts, the vectors and their site, the clamped features, the
        rate, the seed."""
        rate = ingredients.rate if self.resolved[name].control_for else 0.0
        vectors = ingredients.vectors
        parts: list[object] = [name, ingredients.seed, rate, "" if vectors is None else str(vectors.site)]
        parts += [[] if clamp is None else clamp.to_json()]
        parts += [arm.parts for arm in self.arms if isinstance(arm, ArmConfig) and arm.name == name]
        digest = hashlib.sha256(json.dumps(parts).encode())
        if vectors is not None:
            digest.update(vectors.table.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _kinds(context: StageContext) -> Kinds:
    return tasks.get(context.problems.task).kinds(context.pair.thinking.tokenizer)


def _absent(ledger: Ledger, name: str) -> dict[str, DataError]:
    """Why an ingredient is missing, if it is."""
    cause = ledger.cause("ingredient", name)
    return {} if cause is None else {name: cause.as_error()}


def _steering_site(pair: ModelPair) -> str:
    if pair.steering_layer is None:
        raise ConfigError(
            f"pair {pair.name!r} has no steering layer",
            do="give the stage `arms` a site, such as resid_post.1",
        )
    return f"resid_post.{pair.steering_layer}"
