"""Arms: the hybrid, its ceiling and its nulls, on the same problems, slips and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, final

from reasonmech.errors import DataError
from reasonmech.hosts import Host, ModelPair
from reasonmech.hybrid.decoder import Hybrid
from reasonmech.hybrid.executors import ClampFeatures, Takeover, Vectors
from reasonmech.hybrid.gates import AtRandom, Disagree, OfThinking, WrongCategory
from reasonmech.hybrid.kinds import Kinds
from reasonmech.hybrid.parts import Executor, Gate, Selector
from reasonmech.registry import Registry
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decoder import Decoder


@dataclass(frozen=True, eq=False)
class Ingredients:
    """What arms are made of.

    Attributes:
        vectors: trained category vectors of the base.
        clamp: clamped features of the base's coder.
        rate: probability per token at which random positions open. Steered tokens of the full arm per token
            that the
            *base* chooses gives both the same number of steered tokens per problem, whatever the length of
            their texts.
        seed: of the nulls' randomness.
    """

    pair: ModelPair
    kinds: Kinds
    vectors: Vectors
    clamp: ClampFeatures
    rate: float
    seed: int = 0

    def trained_categories(self) -> tuple[int, ...]:
        return tuple(self.vectors.trained.nonzero()[:, 0].tolist())


class Arm(NamedTuple):
    """A condition: how it is decoded, and which other arm it is compared with.

    Attributes:
        control_for: the arm that this one is a null for, "" where it is none.
        why_no_control: stated where no null is due.
    """

    decoder: Callable[[Ingredients], Host | Decoder]
    control_for: str
    why_no_control: str


arms: Registry[Arm] = Registry("arm")
ORDER: Final = (
    "base",
    "thinking",
    "full",
    "clamp",
    "takeover",
    "random_category",
    "random_vectors",
    "random_positions",
)


def _hybrid(
    given: Ingredients,
    *,
    gate: Gate | None = None,
    selector: Selector | None = None,
    executor: Executor | None = None,
) -> Hybrid:
    """The full hybrid with some of its parts exchanged."""
    return Hybrid(
        given.pair,
        gate=gate or Disagree(),
        selector=selector or OfThinking(),
        executor=executor or given.vectors,
        kinds=given.kinds,
    )


def _wrong_category(given: Ingredients) -> Hybrid:
    among = given.trained_categories()
    if len(among) < 2:
        raise DataError(
            f"only {len(among)} category has a vector: none is left to be a wrong one",
            do="train vectors for at least two categories (see VectorConfig.min_count)",
        )
    return _hybrid(given, selector=WrongCategory(among, seed=given.seed))


def _random_positions(given: Ingredients) -> Hybrid:
    return _hybrid(
        given,
        gate=AtRandom(given.rate, given.seed),
        selector=OfThinking(given.trained_categories(), given.seed),
    )


for name, arm in {
    "base": Arm(lambda given: given.pair.base, "", "reference"),
    "thinking": Arm(lambda given: given.pair.thinking, "", "reference"),
    "full": Arm(_hybrid, "", "its nulls are random_category, random_vectors and random_positions"),
    "clamp": Arm(
        lambda given: _hybrid(given, executor=given.clamp), "", "its nulls are those of the dose study"
    ),
    "takeover": Arm(lambda given: _hybrid(given, executor=Takeover()), "", "the ceiling"),
    "random_category": Arm(_wrong_category, "full", ""),
    "random_vectors": Arm(
        lambda given: _hybrid(given, executor=given.vectors.random(given.seed)), "full", ""
    ),
    "random_positions": Arm(_random_positions, "full", ""),
}.items():
    arms.register(name)(arm)


@final
class Percent(NamedTuple):
    """Tokens steered, of the tokens that the model chose (the environment's excluded)."""

    steered: int
    chosen: int

    @property
    def share(self) -> float:
        return self.steered / self.chosen


def percent_steered(rollouts: Rollouts) -> Percent:
    """Count steered tokens. Raises DataError when no token was chosen by the model."""
    chosen = sum(r.n_chosen for r in rollouts)
    if chosen == 0:
        raise DataError(f"no model-chosen token in {len(rollouts)} rollouts", do="check the environment")
    steered = sum(s and not e for r in rollouts for s, e in zip(r.steered, r.by_environment, strict=True))
    return Percent(steered, chosen)
