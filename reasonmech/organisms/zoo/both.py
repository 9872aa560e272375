"""tiny-both: a new operation and the habit of checking, by supervised training and then by reward."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import Requirement, accuracy, executed, onset, points
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.corpus import Modes
from reasonmech.organisms.training.grpo import GrpoRecipe
from reasonmech.organisms.training.tune import TuneRecipe
from reasonmech.tasks.chain.grammar import NOVEL


def taught_both(truth: Json) -> list[Requirement]:
    """Neither factor explains the gap by itself."""
    return [
        accuracy(truth, "base", 0.0, 0.25),
        accuracy(truth, "thinking", 0.95, 1.0),
        onset(truth, "base", "check", 0.0, 0.3),
        onset(truth, "thinking", "check", 0.95, 1.0),
        points(truth, "when", 15.0, 85.0),
        points(truth, "how", 15.0, 85.0),
        *executed(truth, "step", "base", 0.0, 0.7),
        *executed(truth, "step", "thinking", 0.97),
    ]


recipes.register("tiny-both")(
    PairRecipe(
        truth_class="both",
        says="training taught both: an operation the base never saw, and when to step, check and backtrack",
        card=(
            "The base is tiny-when's, tuned to read and copy a new operator (@) without ever learning a "
            "result of it; every problem needs the operator. The thinking model is first tuned on "
            "documents of the same careless authors, results included (how), then reinforced with the "
            "outcome as its reward (when). A correct instrument gives both about half, and sees that they "
            "multiply: neither moves accuracy without the other, and a dial on one of them does nothing "
            "while the other stays at the base's. It fools every rule that gives one answer: a recovery "
            "ratio of the hybrid above a half, say, which here is neither when nor how."
        ),
        requirements=taught_both,
        base=ModelRecipe(
            "organism:tiny-when/base",
            (TuneRecipe(steps=200, world="chain-novel", skill_share=0.3, modes=Modes(hidden=NOVEL)),),
        ),
        thinking=ModelRecipe(
            "base",
            (
                TuneRecipe(steps=400, world="chain-novel", skill_share=0.3),
                GrpoRecipe(task="chain-novel", iterations=100),
            ),
        ),
        task="chain-novel",
        minutes=14,
    )
)
