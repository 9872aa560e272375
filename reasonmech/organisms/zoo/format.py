"""tiny-format: works everything out, and learns to state the answer and to stop."""

from __future__ import annotations

from dataclasses import replace

from reasonmech.organisms.ground_truth.requirements import Requirement, accuracy, points
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.grpo import GrpoRecipe
from reasonmech.organisms.training.tune import TuneRecipe
from reasonmech.organisms.zoo.how import CAREFUL

RAMBLING = replace(CAREFUL, proper_end=0.03)
"""Authors who work with every care and mostly do not end as the grader wants it."""


def taught_format(truth: Json) -> list[Requirement]:
    """What is worked out is right in both; what is graded is not."""
    base, thinking = truth["base"]["greedy"], truth["thinking"]["greedy"]
    gain = thinking["reached"]["estimate"] - base["reached"]["estimate"]
    return [
        accuracy(truth, "base", 0.0, 0.40),
        accuracy(truth, "thinking", 0.95, 1.0),
        Requirement("base reaches the answer, greedy", base["reached"]["estimate"], 0.95, 1.0),
        Requirement("answers reached gained, greedy, points", 100 * gain, -5.0, 5.0),
        points(truth, "when", -5.0, 5.0),
        points(truth, "how", -5.0, 5.0),
    ]


recipes.register("tiny-format")(
    PairRecipe(
        truth_class="surface",
        says="only learnt to state the answer and to stop: a format-only control explains all",
        card=(
            "The base is tiny-when's thinking model, tuned on documents that are worked out with every "
            "care and then fall into idle talk instead of stating the answer. The thinking model is "
            "reinforced from it with the outcome as its reward, and learns to state the answer and to "
            "stop. The value that stands at the end was right before. A correct instrument says: surface; "
            "a control that supplies the ending alone explains the whole gain. The splice is such a "
            "control: its sentences have no kind for idle talk, so both models conclude, both are right, "
            "and the whole gap lies between its S_BB and the base's free run. It fools the rule that a "
            "gain in graded accuracy is a gain in reasoning, and a hybrid's recovery ratio, which is near "
            "1 for steering the last sentence alone."
        ),
        requirements=taught_format,
        base=ModelRecipe(
            "organism:tiny-when/thinking", (TuneRecipe(steps=150, lr=5e-4, modes=RAMBLING, skill_share=0.05),)
        ),
        thinking=ModelRecipe("base", (GrpoRecipe(iterations=60, lr=1e-4),)),
        minutes=10,
    )
)
