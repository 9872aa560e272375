"""A hybrid from a mapping, as it stands in a YAML file: which gate, which selector, which executor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from reasonmech.arguments import check_type, describe
from reasonmech.errors import ConfigError, DataError, UnknownNameError
from reasonmech.hybrid.decoder import Hybrid
from reasonmech.hybrid.executors import ClampFeatures, SecondChoice, Takeover, Vectors
from reasonmech.hybrid.gates import AtRandom, DisagreementGate, KindGate, OfThinking, WrongCategory
from reasonmech.hybrid.guarded import Guarded
from reasonmech.hybrid.ingredients import Ingredients
from reasonmech.hybrid.matching import as_strong_as
from reasonmech.hybrid.partition import OfPartition
from reasonmech.hybrid.parts import executors, gates, selectors
from reasonmech.kinds import Openings, with_ends
from reasonmech.registry import Registry

T = TypeVar("T")
Seed = int | Literal["run"]
_SHAPE: Final = "a mapping such as {gate: {kind: random, rate: 0.03}, executor: {kind: vectors}}"
_LENIENT: Final = ConfigDict(arbitrary_types_allowed=True)
GUARDRAIL: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # as published
_INGREDIENTS: Final = "ingredients"  # a part with a parameter of this name is given the Ingredients


@final
@dataclass(frozen=True)
class PartConfig:
    """One part of a hybrid: its kind, and the values of its parameters."""

    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_mapping(cls, part: str, mapping: object, registry: Registry[Callable[..., T]]) -> PartConfig:
        """Check a mapping `{kind: random, rate: 0.03}` against what is registered.

        Raises:
            ArgumentError: no mapping. ConfigError: no kind, a setting missing, or of the wrong type.
            UnknownNameError: no such kind, or a setting that this kind does not have.
        """
        allowed = f"a mapping such as {{kind: {registry.kinds()[0]}}}"
        settings = dict(check_type(mapping, Mapping, name=part, allowed=allowed))
        if not isinstance(settings.get("kind"), str):
            raise ConfigError(f"{part} names no kind", allowed=f"kind: {', '.join(registry.kinds())}")
        kind = settings.pop("kind")
        parameters = _parameters(registry.get(kind))
        for name in settings:
            if name not in parameters:
                raise UnknownNameError(f"setting of {registry.noun} {kind!r}", str(name), parameters)
        missing = [name for name, p in parameters.items() if p.default is p.empty and name not in settings]
        if missing:
            raise ConfigError(
                f"{registry.noun} {kind!r} lacks {', '.join(missing)}", allowed=", ".join(parameters)
            )
        return cls(kind, {name: _typed(parameters[name], settings[name], part) for name in settings})

    def build(self, ingredients: Ingredients, registry: Registry[Callable[..., T]]) -> T:
        """The part itself."""
        make = registry.get(self.kind)
        if _INGREDIENTS in inspect.signature(make).parameters:
            return make(ingredients=ingredients, **self.settings)
        return make(**self.settings)


@final
@dataclass(frozen=True)
class HybridConfig:
    """Which parts a hybrid has; what is not named is that of the arm `full`."""

    gate: PartConfig = PartConfig("disagree")
    selector: PartConfig = PartConfig("thinking")
    executor: PartConfig = PartConfig("vectors")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> HybridConfig:
        """Check everything that can be checked before there is a pair.

        Raises:
            ArgumentError: no mapping. ConfigError: a part without a kind, or a setting missing or of the
                wrong type.
            UnknownNameError: a part, a kind or a setting that does not exist; the valid ones are listed.
        """
        check_type(mapping, Mapping, name="the hybrid", allowed=_SHAPE)
        registries: dict[str, Registry[Any]] = {"gate": gates, "selector": selectors, "executor": executors}
        for part in mapping:
            if part not in registries:
                raise UnknownNameError("part of a hybrid", str(part), registries)
        return cls(**{p: PartConfig.from_mapping(p, value, registries[p]) for p, value in mapping.items()})

    def build(self, ingredients: Ingredients) -> Hybrid:
        """The decoder.

        Raises:
            UnknownNameError: a category that the kinds do not have. DataError: fewer than two categories to
                draw a wrong one from, or a rate that is no probability.
        """
        return Hybrid(
            ingredients.pair,
            gate=self.gate.build(ingredients, gates),
            selector=self.selector.build(ingredients, selectors),
            executor=self.executor.build(ingredients, executors),
            kinds=ingredients.kinds,
        )


def hybrid_from_config(ingredients: Ingredients, mapping: Mapping[str, object]) -> Hybrid:
    """A hybrid whose parts are named: `{"gate": {"kind": "random", "rate": 0.03}}`.

    A part that is not named is that of the arm `full`: gate disagree, selector thinking, executor vectors. A
    class or a function that is registered in `gates`, `selectors` or `executors` has its own parameters as
    settings; a parameter called `ingredients` is given the ingredients.

    Raises:
        As `HybridConfig.from_mapping` and `HybridConfig.build` do.
    """
    return HybridConfig.from_mapping(mapping).build(ingredients)


def _parameters(make: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """What a kind can be told in a configuration, with resolved annotations."""
    parameters = inspect.signature(make, eval_str=True).parameters
    return {name: p for name, p in parameters.items() if name != _INGREDIENTS}


def _typed(parameter: inspect.Parameter, value: object, part: str) -> object:
    """A setting as its annotation says: YAML has lists where a part has tuples."""
    if parameter.annotation is parameter.empty:
        return value
    try:
        return TypeAdapter(parameter.annotation, config=_LENIENT).validate_python(value)
    except ValidationError as error:
        allowed = "; or ".join(dict.fromkeys(problem["msg"] for problem in error.errors()))
        raise ConfigError(f"{part}: {parameter.name} is {describe(value)}", allowed=allowed) from error


gates.register("disagree")(DisagreementGate)
executors.register("takeover")(Takeover)
executors.register("second_choice")(SecondChoice)


@gates.register("kinds")
def _kind_gate(ingredients: Ingredients) -> KindGate:
    """Open where the models would begin sentences of different kinds, each summed over its first words."""
    base, thinking = ingredients.pair.base, ingredients.pair.thinking
    kinds = with_ends(ingredients.kinds, tuple(dict.fromkeys((*base.eos_ids, *thinking.eos_ids))))
    return KindGate(Openings(kinds, min(base.vocab_size, thinking.vocab_size)))


@gates.register("random")
def _random_gate(
    ingredients: Ingredients, *, rate: float | Literal["matched"] = "matched", seed: Seed = "run"
) -> AtRandom:
    """Open at random; "matched": so often that as many tokens per problem are steered as in `full`."""
    return AtRandom(ingredients.steering_rate() if rate == "matched" else rate, seed_of(ingredients, seed))


@selectors.register("thinking")
def _thinking_selector(
    ingredients: Ingredients,
    *,
    among: tuple[str, ...] | Literal["any", "trained"] = "any",
    seed: Seed = "run",
) -> OfThinking:
    """The thinking model's category; with `among`, another of these where that is none of them."""
    return OfThinking(() if among == "any" else _categories(ingredients, among), seed_of(ingredients, seed))


@selectors.register("random")
def _random_selector(
    ingredients: Ingredients, *, among: tuple[str, ...] | Literal["trained"] = "trained", seed: Seed = "run"
) -> WrongCategory:
    """A category that is never the thinking model's."""
    categories = _categories(ingredients, among)
    if len(categories) < 2:
        raise DataError(
            f"only {len(categories)} category has a vector: none is left to be a wrong one",
            do="train vectors for at least two categories (see VectorConfig.min_count)",
        )
    return WrongCategory(categories, seed=seed_of(ingredients, seed))


@executors.register("vectors")
def _vectors(ingredients: Ingredients, *, form: str = "") -> Vectors:
    """The trained category vectors, or those of another form, trained beside them."""
    return ingredients.trained_vectors(form)


@selectors.register("partition")
def _of_partition(ingredients: Ingredients, *, partition: str) -> OfPartition:
    """The category of the thinking model's stream, under a partition by its kind."""
    return OfPartition(ingredients.parted_vectors(partition).partition)


@executors.register("partition")
def _partition_vectors(ingredients: Ingredients, *, partition: str) -> Vectors:
    """The vectors of a partition's categories."""
    return ingredients.parted_vectors(partition).vectors


@executors.register("guarded")
def _guarded(ingredients: Ingredients, *, coefficients: tuple[float, ...] = GUARDRAIL) -> Guarded:
    """Of several strengths of the trained vector the one whose token the thinking model likes best."""
    return Guarded(ingredients.trained_vectors(), coefficients)


@executors.register("mean_difference")
def _mean_difference(ingredients: Ingredients) -> Vectors:
    """Differences of means at first words of categories, as strong as the trained vectors on neutral text."""
    vectors, texts = ingredients.trained_vectors(), ingredients.neutral_texts()
    means = ingredients.means_of_onsets()
    if not bool(means.trained[vectors.trained].all()):
        raise DataError(
            "a category has a trained vector, and no sentence of it begins in the texts that means are of",
            do="use more fitting problems",
        )
    return as_strong_as(means.table[vectors.trained].float().cpu(), vectors, texts)[0]


@executors.register("random_vectors")
def _random_vectors(ingredients: Ingredients, *, seed: Seed = "run") -> Vectors:
    """Random directions of the same lengths."""
    return ingredients.trained_vectors().random(seed_of(ingredients, seed))


@executors.register("clamp")
def _clamp(ingredients: Ingredients) -> ClampFeatures:
    """The clamped features of the base's coder."""
    return ingredients.clamped_features()


def seed_of(ingredients: Ingredients, seed: Seed) -> int:
    """The seed of a part: its own, or the run's."""
    return ingredients.seed if seed == "run" else seed


def _categories(ingredients: Ingredients, among: tuple[str, ...] | Literal["trained"]) -> tuple[int, ...]:
    if among == "trained":
        return ingredients.trained_categories()
    names = ingredients.kinds.names
    for name in among:
        if name not in names:
            raise UnknownNameError("category", name, names)
    return tuple(names.index(name) for name in among)
