"""What arms without an oracle are made of: a probe, positions of neutral text, categories of fixed rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from reasonmech.errors import DataError
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.arm_config import ArmConfig
from reasonmech.experiments.stages.base import Notes, StageContext
from reasonmech.experiments.stages.clamped import ClampedGroups, tuning_problems
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.hybrid import (
    LESS_ORACLE,
    ORDER,
    RULES,
    Hybrid,
    Ingredients,
    NeutralTexts,
    OnsetBias,
    fit_onset_probe,
)
from reasonmech.hybrid.draws import CategoryDraws, repeat
from reasonmech.hybrid.less_oracle import rule
from reasonmech.hybrid.matching import unembedding_rows
from reasonmech.hybrid.vector_arms import VECTOR_ARMS
from reasonmech.runtime import generate
from reasonmech.tasks import StatesAnswers, grade, tasks

_ARMS_WITH: Final[Mapping[str, tuple[str, ...]]] = {  # ingredient -> registered arms that are made of it
    "clamp": ("clamp",),
    "probe": ("oracle_free",),
    "neutral": ("logit_bias", "unembedding", "mean_difference"),
    "means": ("mean_difference",),
}
_KINDS_WITH: Final[Mapping[str, tuple[str, ...]]] = {  # ingredient -> kinds of parts that are made of it
    "clamp": ("clamp",),
    "probe": ("oracle_free",),
    "neutral": ("onset_bias", "unembedding", "mean_difference"),
    "means": ("mean_difference",),
}


def is_needed(ingredient: str, chosen: Sequence[str | ArmConfig]) -> bool:
    """Whether an arm can ask for an ingredient: arms of plug-ins can ask for any."""
    ours = {*ORDER, *LESS_ORACLE, *VECTOR_ARMS}
    for choice in chosen:
        if isinstance(choice, str):
            if choice in _ARMS_WITH[ingredient] or choice not in ours:
                return True
        elif any(part.get("kind") in _KINDS_WITH[ingredient] for part in choice.parts.values()):
            return True
    return False


def with_clamp(
    ingredients: Ingredients, clamp: ClampedGroups | None, absent: Mapping[str, DataError]
) -> Ingredients:
    """With the clamped features, or why there are none."""
    pair, n = ingredients.pair, len(ingredients.kinds.names)
    executor = None if clamp is None else clamp.executor(pair.base, n)
    return replace(ingredients, clamp=executor, absent={**ingredients.absent, **absent})


def answer_kinds(context: StageContext) -> tuple[str, ...]:
    """Kinds of sentence that state an answer; none where the task does not say."""
    task = tasks.get(context.problems.task)
    return task.answer_kinds if isinstance(task, StatesAnswers) else ()


def with_probe(context: StageContext, ingredients: Ingredients, ledger: Ledger, notes: Notes) -> Ingredients:
    """An oracle-free controller, fitted on the thinking model's fitting rollouts; or why there is none."""
    with ledger.attempt("ingredient", "probe"):
        probe = fit_onset_probe(context.pair.base, read_rollouts(context, "thinking"), ingredients.kinds)
        notes.add_remark(
            f"oracle-free controller: a probe on {probe.site} of the base names the kind of "
            f"{probe.accuracy:.1%} of the thinking model's sentences on problems left out of a first fit; it "
            f"is then fitted on all {len(probe.prompts)} fitting problems"
        )
        return replace(ingredients, probe=probe)
    return absent(ingredients, ledger, "probe")


def neutral_texts(context: StageContext) -> NeutralTexts:
    """Tokens of fitting texts, drawn blind, before which strength is measured."""
    return NeutralTexts.draw(context.pair.base, read_rollouts(context, "thinking"), seed=context.seed)


def with_neutral(
    context: StageContext, ingredients: Ingredients, ledger: Ledger, notes: Notes
) -> Ingredients:
    """Positions at which strength is measured, and what cannot be made as strong as the vectors there."""
    with ledger.attempt("ingredient", "neutral"):
        texts = neutral_texts(context)
        vectors = ingredients.trained_vectors()
        for name, matched in {
            "logit_bias": OnsetBias.as_strong_as(vectors, ingredients.kinds, texts)[1],
            "unembedding": unembedding_rows(vectors, ingredients.kinds, texts)[1],
        }.items():
            if shortfall := matched.describe_shortfall():
                notes.add_remark(f"{name}: of its categories {shortfall}")
        return replace(ingredients, neutral=texts)
    return absent(ingredients, ledger, "neutral")


def with_best_categories(
    context: StageContext, ingredients: Ingredients, names: Sequence[str], notes: Notes, *, n: int
) -> Ingredients:
    """For every fixed rule among the arms the category that answers most of `n` tuning problems.

    Raises:
        DataError: there are no vectors, or no tuning problem is left.
    """
    problems, kinds = tuning_problems(context, n), ingredients.kinds
    categories = ingredients.trained_categories()
    rows = len(problems) * context.decode.samples
    best: dict[str, int] = {}
    for name in names:
        one = rule(name, kinds.names[categories[0]])(ingredients)
        every = Hybrid(
            one.pair,
            gate=one.gate,
            selector=CategoryDraws(categories, rows),
            executor=one.executor,
            kinds=kinds,
        )
        written = generate(every, repeat(problems, len(categories)), decode=context.decode, progress=False)
        shares = grade(written).reshape(len(categories), -1).mean(1)
        right = dict(zip(categories, shares.tolist(), strict=True))
        best[name] = max(right, key=lambda category: right[category])
        notes.add_remark(
            f"{name}: category {kinds.names[best[name]]}, the best of {len(right)} on {len(problems)} tuning "
            f"problems ({right[best[name]]:.0%} right)"
        )
    return replace(ingredients, best=best)


def absent(ingredients: Ingredients, ledger: Ledger, name: str) -> Ingredients:
    """The ingredients, with the reason why this one is missing."""
    cause = ledger.cause("ingredient", name)
    if cause is None:
        return ingredients
    return replace(ingredients, absent={**ingredients.absent, name: cause.as_error()})


def rules_among(names: Sequence[str]) -> list[str]:
    """Arms of one fixed category."""
    return [name for name in names if name in RULES]
