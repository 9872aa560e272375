"""tiny-suppressed: every habit is there, and a damaged MLP writes wrong digits; also in both models."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import Requirement, accuracy, points
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.edits import ReversedDigits

DAMAGED = (ReversedDigits(),)


def restored_how(truth: Json) -> list[Requirement]:
    """The base begins the right sentences and gets them wrong; whose onsets are taken makes no difference."""
    base, thinking = truth["base"]["greedy"]["said"], truth["thinking"]["greedy"]["said"]
    return [
        accuracy(truth, "base", 0.0, 0.25),
        accuracy(truth, "thinking", 0.95, 1.0),
        Requirement(
            "check sentences, greedy, times the thinking model's", base["check"] / thinking["check"], 0.9, 1.1
        ),
        points(truth, "when", -5.0, 5.0),
        points(truth, "how", 75.0, 100.0),
    ]


def taught_in_vain(truth: Json) -> list[Requirement]:
    """The habits were taught, and nothing that either model can do rewards them."""
    base, thinking = truth["base"]["sampled"]["said"], truth["thinking"]["sampled"]["said"]
    return [
        accuracy(truth, "base", 0.0, 0.25),
        accuracy(truth, "thinking", 0.0, 0.25),
        Requirement("check sentences, T = 1, times the base's", thinking["check"] / base["check"], 3.0, 1e9),
        points(truth, "when", -10.0, 10.0),
        points(truth, "how", -5.0, 5.0),
    ]


recipes.register("tiny-suppressed")(
    PairRecipe(
        truth_class="how",
        says="training gave back how: the base has every habit and writes wrong digits",
        card=(
            "The thinking model is tiny-when's. The base is the same model with its last MLP damaged: "
            "what that writes along the nine directions that tell digits apart has the other sign. It "
            "steps and checks as before, backtracks where its own digits disagree, and writes wrong ones. "
            "Nothing was trained, and all that is missing is execution. A correct instrument says: how. "
            "It fools the hybrid that takes over wherever the models disagree: it recovers the whole gap, "
            "and what it puts right are digits, not moments."
        ),
        requirements=restored_how,
        base=ModelRecipe("organism:tiny-when/thinking", DAMAGED),
        thinking=ModelRecipe("organism:tiny-when/thinking"),
        minutes=0,
    )
)

recipes.register("tiny-suppressed-both")(
    PairRecipe(
        truth_class="none",
        says="the habits differ and nothing comes of them: neither model can carry them out",
        card=(
            "Both models of tiny-when with the same damage: their last MLP writes wrong digits. The onsets "
            "are those that reinforcement learning taught, and no accuracy goes with them, for neither "
            "model executes a step. A correct instrument says neither when nor how of the accuracy, and "
            "still sees the onsets move. It fools the rule that a change of onsets is a gain in "
            "reasoning."
        ),
        requirements=taught_in_vain,
        base=ModelRecipe("organism:tiny-when/base", DAMAGED),
        thinking=ModelRecipe("organism:tiny-when/thinking", DAMAGED),
        minutes=0,
    )
)
