"""The vectors of the stage `arms`: trained ones, those of other forms, differences of means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from reasonmech.experiments.ledger import Cause, Ledger
from reasonmech.experiments.stages.arm_config import ArmConfig
from reasonmech.experiments.stages.arm_ingredients import absent
from reasonmech.experiments.stages.base import StageContext
from reasonmech.experiments.stages.rollouts import read_rollouts
from reasonmech.experiments.stages.vector_site import vector_site
from reasonmech.hybrid import (
    Ingredients,
    Kinds,
    PartedTexts,
    PartitionConfig,
    PartitionVectors,
    TrainedVectors,
    VectorConfig,
    fit_partition,
    train_draws,
)
from reasonmech.hybrid.means import mean_differences
from reasonmech.hybrid.vector_arms import FORMS, PARTED
from reasonmech.rollout import OTHER


def train_category_vectors(
    context: StageContext, kinds: Kinds, ledger: Ledger, site: str, configs: Sequence[VectorConfig]
) -> list[TrainedVectors]:
    """Category vectors, those of the arms first; none, and in the ledger why, where there are none."""
    least = configs[0].min_count
    with ledger.attempt("ingredient", "vectors"):
        draws = _train(context, kinds, site, configs)
        for name, n in draws[0].counts.items():
            item = f"vector of category {name}"
            if n and name != OTHER:
                ledger.plan("category", item)
            if 0 < n < least and name != OTHER:
                few = f"{n} disagreements to train it on, of {least} that it takes"
                advice = "use more fitting problems, or lower vectors.min_count"
                ledger.miss("category", item, cause=Cause("DataError", few, do=advice))
        return draws
    return []


def forms_among(chosen: Sequence[str | ArmConfig]) -> list[str]:
    """Forms of vectors, beside the trained ones, that arms ask for."""
    forms: dict[str, None] = {}
    for choice in chosen:
        if isinstance(choice, str):
            form = FORMS.get(choice, "")
        else:
            executor = choice.executor or {}
            form = str(executor.get("form", "")) if executor.get("kind") == "vectors" else ""
        if form:
            forms[form] = None
    return [*forms]


def with_forms(
    context: StageContext,
    ingredients: Ingredients,
    ledger: Ledger,
    site: str,
    configs: Sequence[VectorConfig],
) -> Ingredients:
    """With vectors of other forms, trained on the same texts; what fails is in the ledger."""
    trained = dict(ingredients.forms)
    for config in configs:
        name = f"vectors of form {config.form!r}"
        with ledger.attempt("ingredient", name):
            trained[config.form] = _train(context, ingredients.kinds, site, [config])[0].vectors
        ingredients = absent(ingredients, ledger, name)
    return replace(ingredients, forms=trained)


def partitions_among(chosen: Sequence[str | ArmConfig]) -> list[str]:
    """Partitions of the thinking model's stream that arms ask for."""
    kinds: dict[str, None] = {}
    for choice in chosen:
        parts = [{"partition": PARTED.get(choice, "")}] if isinstance(choice, str) else choice.parts.values()
        kinds |= {str(part["partition"]): None for part in parts if part.get("partition")}
    return [*kinds]


def with_partitions(
    context: StageContext,
    ingredients: Ingredients,
    ledger: Ledger,
    site: str,
    wanted: tuple[Sequence[str], PartitionConfig, VectorConfig],
) -> Ingredients:
    """With partitions of the thinking model's stream and vectors of their categories; what fails is in the
    ledger.

    Args:
        wanted: kinds of partition, how they are learnt, how their vectors are trained.
    """
    kinds, config, vectors = wanted
    thinking, parted = context.pair.thinking, dict(ingredients.parted)
    if not config.site and context.pair.sae_layer is not None:
        config = config.model_copy(update={"site": f"resid_post.{context.pair.sae_layer}"})
    for kind in kinds:
        name = f"vectors of partition {kind!r}"
        with ledger.attempt("ingredient", name):
            partition = fit_partition(thinking, read_rollouts(context, "thinking"), kind=kind, config=config)
            categories = PartedTexts(partition, thinking, ingredients.kinds)
            trained = _train(context, categories, site, [vectors])[0]
            parted[kind] = PartitionVectors(partition, trained.vectors)
        ingredients = absent(ingredients, ledger, name)
    return replace(ingredients, parted=parted)


def with_means(context: StageContext, ingredients: Ingredients, ledger: Ledger, site: str) -> Ingredients:
    """With differences of means, of the thinking model's fitting texts as the base reads them."""
    with ledger.attempt("ingredient", "means"):
        written = read_rollouts(context, "thinking")
        means = mean_differences(context.pair.base, site, written, ingredients.kinds)
        return replace(ingredients, means=means)
    return absent(ingredients, ledger, "means")


def _train(
    context: StageContext, kinds: Kinds | PartedTexts, site: str, configs: Sequence[VectorConfig]
) -> list[TrainedVectors]:
    base, written = context.pair.base, read_rollouts(context, "thinking")
    with vector_site(context, site, written) as at:
        return train_draws(base, at, written, kinds=kinds, configs=configs, progress=context.progress)


def vector_tensors(trainings: Sequence[TrainedVectors]) -> dict[str, Tensor]:
    """The vectors of the arms, what scales them, and those of further trainings [training, category,
    d_model]."""
    first, *others = (training.vectors for training in trainings)
    tensors = {"category_vectors": first.table, "category_trained": first.trained}
    if first.scale is not None:
        tensors |= {f"scale.{name}": value for name, value in first.scale.state_dict().items()}
    if others and not any(vectors.scale for vectors in (first, *others)):  # vectors alone say nothing
        tensors["trained_again"] = torch.stack([vectors.table for vectors in others])
    return tensors
