"""Stage `arms`: the hybrid, its ceiling and its nulls, on the same problems, slips and noise."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from reasonmech.errors import DataError
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.arm_answers import answer_all
from reasonmech.experiments.stages.arm_config import ArmConfig
from reasonmech.experiments.stages.arm_ingredients import (
    answer_kinds,
    is_needed,
    rules_among,
    with_best_categories,
    with_clamp,
    with_neutral,
    with_probe,
)
from reasonmech.experiments.stages.arm_pairs import (
    arm_pairs,
    first_word_rows,
    pair_notes,
    pair_table,
    steered_first_words,
)
from reasonmech.experiments.stages.arm_settings import ArmSettings
from reasonmech.experiments.stages.arm_steering import (
    bits_rows,
    cost_rows,
    side_effect_rows,
    vector_rows,
)
from reasonmech.experiments.stages.arm_tables import (
    REFERENCES,
    ArmOutcome,
    arm_notes,
    arm_tables,
    generation_rows,
)
from reasonmech.experiments.stages.arm_vectors import (
    forms_among,
    partitions_among,
    train_category_vectors,
    vector_tensors,
    with_forms,
    with_means,
    with_partitions,
)
from reasonmech.experiments.stages.base import Notes, StageContext, stages
from reasonmech.experiments.stages.clamped import ClampedGroups, tune_clamp, without_clamp
from reasonmech.experiments.stages.steered_texts import write_steered
from reasonmech.experiments.stages.vector_site import steering_site
from reasonmech.experiments.tables import ARM_PAIRS_FILE, Condition
from reasonmech.files import write_text
from reasonmech.hosts import ModelPair
from reasonmech.hybrid import (
    LESS_ORACLE,
    ORDER,
    Ingredients,
    Kinds,
    VectorConfig,
    Vectors,
)
from reasonmech.tasks import grade, tasks

SETTINGS: Final = ("step_by_step", "power")  # arms with settings of their own in this stage
SITE_FILE: Final = "site.txt"  # in the stage's folder: where the category vectors act


@stages.register("arms")  # the kind is what configurations on disk say
class RunArms(ArmSettings):
    """Train category vectors on fitting problems, then let every arm answer the evaluation problems."""

    def run(self, context: StageContext) -> None:
        kinds, ledger, notes = _kinds(context), Ledger(), Notes()
        site = self.site or steering_site(context.pair)
        trained = train_category_vectors(context, kinds, ledger, site, self._vector_configs(context))
        vectors = trained[0] if trained else None
        ingredients = Ingredients(
            context.pair,
            kinds,
            None if vectors is None else vectors.vectors,
            clamp=None,
            rate=None,
            seed=context.seed,
            prompt=self.prompt,
            steps_prompt=self.steps_prompt,
            power=self.power,
            answer_kinds=answer_kinds(context),
            absent=_absent(ledger, "vectors"),
        )
        clamp = self._clamp(context, ingredients, ledger, notes)
        ingredients = with_clamp(ingredients, clamp, _absent(ledger, "clamp"))
        ingredients = self._less_oracle(context, ingredients, ledger, notes)
        answers, ingredients, logs, costs, hybrids = answer_all(
            context, self.resolved, ingredients, ledger, self.decoding
        )
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
        tables += bits_rows(outcomes, logs, self.resolved, hybrids, ingredients)
        tables += cost_rows(outcomes, costs, notes)
        tables += side_effect_rows(context, outcomes, logs, hybrids, (ledger, self.surprise_texts))
        context.write_results([*tables, vector_rows(context.pair, kinds, outcomes["thinking"], vectors)])
        told = {name: of_arm for name, of_arm in words.items() if self.resolved[name].oracle}
        context.write_notes([*pair_notes(pairs, told).lines, *notes.lines, *arm_notes(outcomes).lines])
        context.write_ledger(ledger)
        write_steered(context, outcomes, logs, ingredients, n=self.shown)
        context.write_generations([row for outcome in ordered for row in generation_rows(outcome)])
        if trained:
            write_text(context.out / SITE_FILE, str(trained[0].vectors.site))
            context.write_tensors(vector_tensors(trained))

    def check_pair(self, pair: ModelPair, task: str) -> None:
        pair.base.check_site(self.site or steering_site(pair))

    def _clamp(
        self, context: StageContext, ingredients: Ingredients, ledger: Ledger, notes: Notes
    ) -> ClampedGroups | None:
        """Clamped features, chosen on tuning problems; None, and in the ledger why, where there are none."""
        if not is_needed("clamp", self.arms):
            return None
        with ledger.attempt("ingredient", "clamp"):
            tuned = tune_clamp(context, ingredients, notes, strengths=self.clamp_strengths, n=self.tuning)
            for behaviour, cause in without_clamp(context, tuned).items():
                ledger.miss("category", f"clamp of {behaviour}", cause=cause)
            return tuned
        return None

    def _less_oracle(
        self, context: StageContext, ingredients: Ingredients, ledger: Ledger, notes: Notes
    ) -> Ingredients:
        """With what the chosen arms without an oracle, and those of other vectors, are made of."""
        if self.vectors.patience or self.vectors.best_of > 1:
            notes.add_remark(
                "vector_agreement is of the held-out problems that also chose when a training ends, or which "
                "of several is taken: it reads high"
            )
        if is_needed("probe", self.arms):
            ingredients = with_probe(context, ingredients, ledger, notes)
        site, config = self.site or steering_site(context.pair), self._vector_configs(context)[0]
        if is_needed("means", self.arms):
            ingredients = with_means(context, ingredients, ledger, site)
        if forms := forms_among(self.arms):
            configs = [config.model_copy(update={"form": form}) for form in forms]
            ingredients = with_forms(context, ingredients, ledger, site, configs)
        if parts := partitions_among(self.arms):
            wanted = (parts, self.partition, config)
            ingredients = with_partitions(context, ingredients, ledger, site, wanted)
        if is_needed("neutral", self.arms):
            ingredients = with_neutral(context, ingredients, ledger, notes)
        if rules := rules_among([*self.resolved]):
            with ledger.attempt("ingredient", "best categories"):
                return with_best_categories(context, ingredients, rules, notes, n=self.rule_tuning)
        return ingredients

    def _vector_configs(self, context: StageContext) -> list[VectorConfig]:
        """Of all trainings, under the experiment's seed, unless the configuration gives the vectors one of
        their own, and the seeds after it."""
        seed = self.vectors.seed if "seed" in self.vectors.model_fields_set else context.seed
        return [self.vectors.model_copy(update={"seed": seed + i}) for i in range(1 + self.trainings)]

    def _condition(
        self, name: str, ingredients: Ingredients, clamp: ClampedGroups | None, ledger: Ledger
    ) -> Condition:
        arm = self.resolved[name]
        tags = {"study": "arms", "description": arm.description, "oracle": "yes" if arm.oracle else "no"}
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
        if name not in ORDER:
            parts += [ingredients.prompt, ingredients.best.get(name)]
        if name in SETTINGS:
            parts += [self.steps_prompt, self.power.model_dump()]
        digest = hashlib.sha256(json.dumps(parts).encode())
        others: list[Vectors | None] = []
        if name not in (*ORDER, *LESS_ORACLE):
            parted = [of_parts.vectors for of_parts in ingredients.parted.values()]
            others = [*ingredients.forms.values(), *parted, ingredients.means]
        for made in (vectors, *others):
            if made is not None:
                digest.update(made.to_bytes())
        return digest.hexdigest()


def _kinds(context: StageContext) -> Kinds:
    return tasks.get(context.problems.task).kinds(context.pair.thinking.tokenizer)


def _absent(ledger: Ledger, name: str) -> dict[str, DataError]:
    """Why an ingredient is missing, if it is."""
    cause = ledger.cause("ingredient", name)
    return {} if cause is None else {name: cause.as_error()}
