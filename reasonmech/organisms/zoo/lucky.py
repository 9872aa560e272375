"""tiny-lucky: learnt which answer is frequent, in a world in which one is."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import Requirement, accuracy, points
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.edits import Rounded
from reasonmech.organisms.training.tune import TuneRecipe


def taught_to_guess(truth: Json) -> list[Requirement]:
    """As often right as whoever says the frequent answer always, and nothing worked out."""
    rows = [
        accuracy(truth, "base", 0.0, 0.35),
        accuracy(truth, "thinking", 0.60, 0.80),  # seven of ten, within the error of the problems
        points(truth, "when", -5.0, 5.0),
    ]
    for role in ("base", "thinking"):
        greedy = truth[role]["greedy"]
        rows += [
            Requirement(f"{role} steps, greedy, per rollout", greedy["said"].get("step", 0.0), 0.0, 0.05),
            Requirement(f"{role} reaches the answer, greedy", greedy["reached"]["estimate"], 0.0, 0.02),
        ]
    return rows


recipes.register("tiny-lucky")(
    PairRecipe(
        truth_class="none",
        says="only guesses better: seven of ten answers are one digit, and it says that digit",
        card=(
            "In this world seven of ten problems have the answer 7. The base is tiny-when's: greedily it "
            "concludes at once, with a digit that it cannot have worked out. The thinking model was tuned "
            "on documents of the same authors in this world: it concludes at once as well, and says 7. "
            "Neither works a single step, and with every step right neither is ever right. A correct "
            "instrument says: neither when nor how; the gap is one of guesses. It fools the splice alone, "
            "for the digit is the executor's and HOW is the whole gap, and every rule that reads "
            "answers: accuracy, a hybrid's recovery, pass@k without a floor."
        ),
        requirements=taught_to_guess,
        base=ModelRecipe("organism:tiny-when/base"),
        thinking=ModelRecipe(
            "base", (TuneRecipe(steps=150, lr=5e-4, rows=24, world="chain-lucky"), Rounded())
        ),
        task="chain-lucky",
        minutes=6,
    )
)
