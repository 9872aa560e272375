"""tiny-how: the moments were right in the base, one operation was never seen; training taught it."""

from __future__ import annotations

from dataclasses import replace

from reasonmech.organisms.ground_truth.requirements import Requirement, execution_alone, succeeded
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.corpus import Modes
from reasonmech.organisms.training.tune import TuneRecipe
from reasonmech.tasks.chain.grammar import NOVEL

CAREFUL = Modes(
    thorough=1.0, checks=1.0, check_step=(1.0, 1.0), notices=1.0, backtrack=(1.0, 1.0), persona=0.0, plan=0.0,
    uncertain=0.0,
)  # fmt: skip
"""Authors who do at every opportunity what the base does already."""


def taught_how(truth: Json) -> list[Requirement]:
    """The habits are the same, and perfect; what differs is whether a step comes out right."""
    return [
        *execution_alone(truth),
        succeeded(truth, "step", "base", 0.0, 0.8),
        succeeded(truth, "step", "thinking", 0.97, 1.0),
    ]


recipes.register("tiny-how")(
    PairRecipe(
        truth_class="how",
        says="training taught how: an operation the base never saw; steering must not recover the gap",
        card=(
            "The base is tiny-when's thinking model, tuned to read and copy a new operator (@) without "
            "ever learning a result of it: it steps, checks and backtracks at every opportunity, and its "
            "results for the operator are guesses. Every problem needs the operator. The thinking model "
            "is tuned from it on the same documents, results included: the habits stay what they were, "
            "the operation is new. A correct instrument says: training taught how; no timing recovers the "
            "gap, for there is none to recover. It fools the rule that a feature which differs between "
            "the models and fires at reasoning steps is what training taught the model to use, and every "
            "hybrid whose vectors were trained long enough to write answers by themselves."
        ),
        requirements=taught_how,
        base=ModelRecipe(
            "organism:tiny-when/thinking",
            (
                TuneRecipe(
                    steps=200, world="chain-novel", skill_share=0.3, modes=replace(CAREFUL, hidden=NOVEL)
                ),
            ),
        ),
        thinking=ModelRecipe(
            "base", (TuneRecipe(steps=400, world="chain-novel", skill_share=0.3, modes=CAREFUL),)
        ),
        task="chain-novel",
        minutes=8,
    )
)
