"""Stage `arms`: the hybrid, its ceiling and its nulls, on the same problems, slips and noise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from reasonmech.coders import SparseCoder
from reasonmech.errors import ConfigError, DataError
from reasonmech.experiments.stages.base import Stage, StageContext, stages
from reasonmech.experiments.stages.coders import read_coders
from reasonmech.experiments.stages.groups import Group, read_candidates
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.tables import Condition, Counts
from reasonmech.hybrid import (
    ORDER,
    ClampFeatures,
    Ingredients,
    Kinds,
    TrainedVectors,
    VectorConfig,
    arms,
    percent_steered,
    train_vectors,
)
from reasonmech.rollout import Rollouts
from reasonmech.runtime import generate
from reasonmech.stats import mean_interval, recovery
from reasonmech.tasks import grade, parse

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
    arms: tuple[str, ...] = Field(ORDER, min_length=2, description="registered arms; base and thinking among them")
    site: str = Field("", description="where the base is steered; empty: after the pair's steering layer")
    vectors: VectorConfig = Field(default_factory=VectorConfig, description="how category vectors are trained")
    no_control: dict[str, str] = Field({}, description="arm -> why none of its nulls is run")

    @model_validator(mode="after")
    def _controlled(self) -> Self:
        missing = [name for name in REFERENCES if name not in self.arms]
        if missing:
            raise ConfigError(f"arms without {', '.join(missing)}", do="recovery is measured between these two")
        known = {name: arms.get(name) for name in self.arms}
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
        kinds = Kinds.of_task(context.problems.task, pair.base.tokenizer)
        trained = train_vectors(
            pair.base,
            self.site or _steering_site(context),
            read_rollouts(context, "thinking"),
            kinds=kinds,
            config=self.vectors,
            progress=context.progress,
        )
        given = Ingredients(pair, kinds, trained.vectors, _clamp(context, kinds), rate=0.0, seed=context.seed)
        outcomes: dict[str, Outcome] = {}
        for name in sorted(self.arms, key=lambda name: name != "full"):  # its rate is that of random positions
            outcomes[name] = self._answer(context, name, given)
            outcomes[name].rollouts.save(context.out / f"{name}.jsonl")
            if name == "full":
                given = replace(given, rate=percent_steered(outcomes[name].rollouts).share)
        ordered = [outcomes[name] for name in self.arms]
        context.write_conditions([outcome.condition for outcome in ordered])
        context.write_results([*_tables(outcomes, ordered), _fit(outcomes, trained)])
        context.write_generations([row for outcome in ordered for row in _generations(outcome)])
        context.write_tensors({"category_vectors": trained.vectors.table})

    def _answer(self, context: StageContext, name: str, given: Ingredients) -> Outcome:
        if name == "thinking":  # it has answered already, decoding as every arm does
            rollouts = read_rollouts(context, "study_thinking")
        else:
            decoder = arms.get(name).decoder(given)
            rollouts = generate(decoder, context.problems, decode=context.decode, progress=context.progress)
        correct = grade(rollouts).reshape(len(context.problems), -1).mean(1)
        return Outcome(self._condition(name, given), rollouts, correct)

    def _condition(self, name: str, given: Ingredients) -> Condition:
        arm, tags = arms.get(name), {"study": "arms"}
        if name in REFERENCES:
            return Condition(name, name, tags=tags)
        nulls = ", ".join(kind for kind in self.arms if arms.get(kind).control_for == name)
        return Condition(
            name,
            "hybrid",
            _fingerprint(name, given),
            control_for=arm.control_for,
            control=nulls,
            no_control="" if nulls or arm.control_for else self.no_control.get(name) or arm.why_no_control,
            tags=tags,
        )


def _steering_site(context: StageContext) -> str:
    layer = context.pair.steering_layer
    if layer is None:
        raise ConfigError(
            f"pair {context.pair.name!r} has no steering layer", do="give the stage `arms` a site, such as resid_post.1"
        )
    return f"resid_post.{layer}"


def _clamp(context: StageContext, kinds: Kinds) -> ClampFeatures:
    """Clamped features in place of vectors: the one coder whose groups, over all behaviours, do most.

    Coders of the last layer, where a feature is hardly more than a logit, stand in only where there is no other.
    """
    candidates, last = read_candidates(context), f"resid_post.{context.pair.base.n_layers - 1}"
    usable = [group for group in candidates if group.site != last] or candidates
    best: dict[tuple[str, str], Group] = {}
    for group in sorted(usable, key=lambda group: group.effect):
        best[group.coder, group.behaviour] = group
    by_coder: dict[str, list[Group]] = {}
    for (coder, _), group in best.items():
        by_coder.setdefault(coder, []).append(group)
    if not by_coder:
        raise DataError("no located group to clamp", do="look at the notes of stages `locate` and `groups`")
    name = max(by_coder, key=lambda coder: sum(group.effect for group in by_coder[coder]))
    coders: Mapping[str, SparseCoder] = read_coders(context)
    features = {
        kinds.names.index(group.behaviour): (group.indices, tuple(group.amounts(group.dose).tolist()))
        for group in by_coder[name]
        if group.effect > 0
    }
    return ClampFeatures(context.pair.base, coders[name], features=features, n=len(kinds.names))


def _fingerprint(name: str, given: Ingredients) -> str:
    """Identity of an arm: its kind, the vectors, the clamped features, the rate, the seed."""
    digest = hashlib.sha256(f"{name}|{given.clamp.coder.weight_hash}|{given.clamp.indices}|{given.seed}".encode())
    digest.update(given.vectors.table.detach().cpu().contiguous().numpy().tobytes())
    if arms.get(name).control_for:
        digest.update(f"{given.rate}".encode())
    return digest.hexdigest()


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
        numbers = {"accuracy": interval.estimate, "accuracy.low": interval.low, "accuracy.high": interval.high}
        if condition.name not in REFERENCES:
            found = recovery(base, thinking, outcome.correct)
            numbers |= {"recovery": found.estimate, "recovery.low": found.low, "recovery.high": found.high}
        numbers |= {
            "percent_steered": steered.share,
            "eos_rate": float(np.mean([r.stop == "eos" for r in rollouts])),
        }
        tables += [condition.rows(metric, [value], unit="share", counts=counts) for metric, value in numbers.items()]
        tables.append(condition.rows("mean_length", [float(np.mean([len(r.ids) for r in rollouts]))], unit="tokens"))
    return tables


def _fit(outcomes: Mapping[str, Outcome], trained: TrainedVectors) -> pd.DataFrame:
    """How well the vectors do where they were not trained, and the bound on what a disagreement gate can steer."""
    condition = outcomes["thinking"].condition
    numbers = {"disagreement_rate": trained.rate, "vector_agreement": trained.agreement}
    return pd.concat([condition.rows(metric, [value], unit="share") for metric, value in numbers.items()])


def _generations(outcome: Outcome) -> list[dict[str, object]]:
    """Lines of generations.jsonl: ids, text, spans, stop reason, and who wrote which token."""
    rows = []
    for rollout, trace, correct in zip(outcome.rollouts, parse(outcome.rollouts), grade(outcome.rollouts), strict=True):
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
