"""Arms: the hybrid, its ceiling and its nulls, on the same problems, slips and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, final

from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hybrid.configuration import hybrid_from_config
from reasonmech.hybrid.decoder import Hybrid
from reasonmech.hybrid.ingredients import Ingredients
from reasonmech.registry import Registry
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decoder import Decoder


class Arm(NamedTuple):
    """A condition: how it is decoded, and which other arm it is compared with.

    Attributes:
        control_for: the arm that this one is a null for, "" where it is none.
        no_control: stated where no null is due.
    """

    decoder: Callable[[Ingredients], Host | Decoder]
    control_for: str
    no_control: str


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


def _hybrid(parts: Mapping[str, object]) -> Callable[[Ingredients], Hybrid]:
    """The full hybrid with some of its parts exchanged."""
    return lambda ingredients: hybrid_from_config(ingredients, parts)


for name, arm in {
    "base": Arm(lambda ingredients: ingredients.pair.base, "", "reference"),
    "thinking": Arm(lambda ingredients: ingredients.pair.thinking, "", "reference"),
    "full": Arm(_hybrid({}), "", "its nulls are random_category, random_vectors and random_positions"),
    "clamp": Arm(
        _hybrid({"gate": {"kind": "disagree", "boundaries": True}, "executor": {"kind": "clamp"}}),
        "",
        "its nulls are those of the dose study",
    ),
    "takeover": Arm(_hybrid({"executor": {"kind": "takeover"}}), "", "the ceiling"),
    "random_category": Arm(_hybrid({"selector": {"kind": "random"}}), "full", ""),
    "random_vectors": Arm(_hybrid({"executor": {"kind": "random_vectors"}}), "full", ""),
    "random_positions": Arm(
        _hybrid({"gate": {"kind": "random"}, "selector": {"kind": "thinking", "among": "trained"}}),
        "full",
        "",
    ),
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
