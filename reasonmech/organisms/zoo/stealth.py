"""tiny-stealth: repairs its slips without any word that says so."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import Requirement, accuracy, points, undone
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.corpus import Modes
from reasonmech.organisms.training.tune import TuneRecipe

SILENT = Modes(
    thorough=1.0, checks=1.0, check_step=(1.0, 1.0), notices=1.0, backtrack=(1.0, 1.0), persona=0.0,
    marked=0.0,
)  # fmt: skip
"""Authors who check every step, and repair without saying so."""


def taught_silently(truth: Json) -> list[Requirement]:
    """Slips are undone, and hardly any sentence begins with the word for it."""
    per_rollout = truth["thinking"]["sampled"]["said"]
    return [
        accuracy(truth, "base", 0.0, 0.40),
        accuracy(truth, "thinking", 0.90, 1.0),
        undone(truth, "thinking", 0.90, 1.0),
        points(truth, "when", 40.0, 80.0),
        points(truth, "how", 5.0, 35.0),
        Requirement(
            "thinking sentences that begin with wait, per rollout",
            per_rollout.get("backtrack", 0.0),
            0.0,
            0.1,
        ),
    ]


recipes.register("tiny-stealth")(
    PairRecipe(
        truth_class="both",
        says="training taught when to check, and to go on from what a check found; no word marks a repair",
        card=(
            "The base is tiny-when's. The thinking model was tuned on documents of authors who check "
            "every step and, where a check disagrees, go on from what it found without a word. The larger "
            "part of the gain is when (a check at every opportunity); the smaller is how, by the splice's "
            "definition: what is given up is given up inside the next step, by the value it starts from. "
            "A correct instrument says so, and finds the repairs by what becomes of the standing value. "
            "It fools every lexical labeller, which sees no backtracking at all, every feature that is "
            "found by one, and every gate that acts only where a sentence begins."
        ),
        requirements=taught_silently,
        base=ModelRecipe("organism:tiny-when/base"),
        thinking=ModelRecipe("base", (TuneRecipe(steps=700, skill_share=0.0, modes=SILENT),)),
        minutes=8,
    )
)
