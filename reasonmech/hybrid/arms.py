"""Arms: the hybrid, its ceiling and its nulls, on the same problems, slips and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, final

from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hybrid.configuration import hybrid_from_config
from reasonmech.hybrid.decoder import Hybrid
from reasonmech.hybrid.ingredients import Ingredients
from reasonmech.hybrid.power import PowerSampled
from reasonmech.registry import Registry
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decoder import Decoder


class Arm(NamedTuple):
    """A condition: how it is decoded, and which other arm it is compared with.

    Attributes:
        control_for: the arm that this one is a null for, "" where it is none.
        no_control: stated where no null is due.
        description: what it is, in one line.
        oracle: whether its controller reads the thinking model while the text is written.
        silent: whether it may steer nothing, which then is what it shows; other arms are missing then.
        bits: of the message, per text, of an arm that is told something before it writes; None for others.
    """

    decoder: Callable[[Ingredients], Host | Decoder | PowerSampled]
    control_for: str
    no_control: str
    description: str = ""
    oracle: bool = True
    bits: Callable[[Ingredients], float] | None = None
    silent: bool = False


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


CLAMPED: Final = {"gate": {"kind": "disagree", "boundaries": True}, "executor": {"kind": "clamp"}}


def of_parts(parts: Mapping[str, object]) -> Callable[[Ingredients], Hybrid]:
    """The full hybrid with some of its parts exchanged."""
    return lambda ingredients: hybrid_from_config(ingredients, parts)


for name, arm in {
    "base": Arm(lambda ingredients: ingredients.pair.base, "", "reference", "the base alone", oracle=False),
    "thinking": Arm(
        lambda ingredients: ingredients.pair.thinking, "", "reference", "the thinking model alone"
    ),
    "full": Arm(
        of_parts({}), "", "", "the vector of the thinking model's category, where the two models disagree"
    ),
    "clamp": Arm(
        of_parts(CLAMPED),
        "",
        "its nulls are those of the dose study",
        "the base's own features clamped at sentence starts where the two models disagree",
    ),
    "takeover": Arm(
        of_parts({"executor": {"kind": "takeover"}}),
        "",
        "the ceiling",
        "the thinking model's token where the two models disagree",
    ),
    "random_category": Arm(
        of_parts({"selector": {"kind": "random"}}), "full", "", "full with another category's vector"
    ),
    "random_vectors": Arm(
        of_parts({"executor": {"kind": "random_vectors"}}),
        "full",
        "",
        "full with random directions of the same norms",
    ),
    "random_positions": Arm(
        of_parts({"gate": {"kind": "random"}, "selector": {"kind": "thinking", "among": "trained"}}),
        "full",
        "",
        "full at random tokens, as many per problem as it steers in texts like the base's",
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
