"""tiny-sham: as many steps of reinforcement learning as tiny-when, for a coin."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import Requirement, faithful, points
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.grpo import GrpoRecipe


def taught_nothing(truth: Json) -> list[Requirement]:
    """Whatever moved, accuracy did not."""
    gain = (
        truth["thinking"]["greedy"]["accuracy"]["estimate"] - truth["base"]["greedy"]["accuracy"]["estimate"]
    )
    return [
        Requirement("accuracy gained, greedy, points", 100 * gain, -10.0, 10.0),
        points(truth, "when", -10.0, 10.0),
        points(truth, "how", -10.0, 10.0),
        *faithful(truth),
    ]


recipes.register("tiny-sham")(
    PairRecipe(
        truth_class="none",
        says="neither when nor how: the reward was a coin",
        card=(
            "The base is tiny-when's. The thinking model was trained from it by GRPO for as many "
            "iterations as there, with a coin as the reward of every rollout, at a tenth of the learning "
            "rate (at the full one the noise alone ruins the model). The weights moved; what the model "
            "can do did not. A correct instrument says neither. It fools the rules that read a change of "
            "weights or of features as a change of reasoning: update sparsity, crosscoder norm ratios, "
            "the count of features that differ."
        ),
        requirements=taught_nothing,
        base=ModelRecipe("organism:tiny-when/base"),
        thinking=ModelRecipe("base", (GrpoRecipe(reward="random", lr=3e-5),)),
        minutes=8,
    )
)
