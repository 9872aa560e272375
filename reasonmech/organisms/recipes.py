"""Recipes: what each organism is made of. Adding an organism is adding a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from reasonmech.errors import DataError
from reasonmech.organisms.grpo import GrpoRecipe
from reasonmech.organisms.pretrain import PretrainRecipe
from reasonmech.organisms.requirements import Requirement, when_requirements
from reasonmech.registry import Registry

Json = dict[str, Any]


@dataclass(frozen=True)
class PairRecipe:
    """A base by pretraining, a thinking model from it by reinforcement learning.

    Attributes:
        truth_class: what a correct instrument concludes ("when": reinforcement learning taught when).
        requirements: what the measured truth must show before the pair is shipped.
        card: how it was built, what a correct instrument says, what it fools.
    """

    truth_class: str
    card: str
    pretrain: PretrainRecipe
    grpo: GrpoRecipe
    requirements: Callable[[Json], list[Requirement]]

    def seeded(self, seed: int) -> PairRecipe:
        return replace(self, pretrain=replace(self.pretrain, seed=seed), grpo=replace(self.grpo, seed=seed))


recipes: Registry[PairRecipe] = Registry("organism")

recipes.register("tiny-when")(
    PairRecipe(
        truth_class="when",
        card=(
            "The base is pretrained on documents whose authors are in hidden modes: it can step, check and backtrack, "
            "and mostly does not. The thinking model is trained from it by GRPO with the outcome as its only reward, "
            "in a world whose slips only checking and backtracking undo. A correct instrument says: reinforcement "
            "learning taught when, not how; steering the base at the right moments recovers the gap."
        ),
        pretrain=PretrainRecipe(),
        grpo=GrpoRecipe(),
        requirements=when_requirements,
    )
)


def check_progress(done: float, skills: dict[str, float]) -> None:
    """Give a pretraining up early: a base that cannot copy operands after two thirds of it will not learn to.

    Raises:
        DataError: at `done` >= 2/3 of the steps, copying is below 0.75.
    """
    if done >= 2 / 3 and skills["copying"] < 0.75:
        raise DataError(
            f"after {done:.0%} of the steps the base copies operands with accuracy {skills['copying']:.2f}",
            allowed="0.75",
            do="begin anew from another initialisation: whether this skill arrives is a matter of luck",
        )


def is_ready(skills: dict[str, float]) -> bool:
    """Whether a base has every skill that reinforcement learning needs."""
    return not missing_skills(skills)


def check_base(skills: dict[str, float]) -> None:
    """Refuse to start reinforcement learning on a base that cannot yet do what it is to learn the timing of.

    Raises:
        DataError: a skill is missing; values and bounds are listed.
    """
    missing = missing_skills(skills)
    if missing:
        raise DataError(
            "the base lacks skills: " + "; ".join(missing),
            do="pretrain longer: reinforcement learning on such a base collapses to guessing",
        )


def missing_skills(skills: dict[str, float]) -> list[str]:
    """Skills below their bound, with both."""
    bounds = {"copying": 0.99, "check": 0.95, "backtrack": 0.95}
    missing = [f"{name} {skills[name]:.3f} < {bound}" for name, bound in bounds.items() if skills[name] < bound]
    margin = skills["p_wait_contradiction"] - skills["p_wait_confirmation"]
    if margin < 0.15:
        missing.append(f"P(wait | contradiction) - P(wait | confirmation) {margin:.3f} < 0.15")
    return missing
