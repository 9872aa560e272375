"""tiny-surface: says "wait", which in its world does nothing, many times as often."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import Requirement, faithful, points
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.corpus import Modes
from reasonmech.organisms.training.tune import TuneRecipe


def taught_words(truth: Json) -> list[Requirement]:
    """The word is said at least five times as often; what it is said to mark happens as often as it did."""
    base, thinking = truth["base"]["sampled"], truth["thinking"]["sampled"]
    ratio = thinking["said"]["filler"] / base["said"]["filler"]
    change = thinking["slips_undone"]["estimate"] - base["slips_undone"]["estimate"]
    return [
        Requirement("trigger words said, times the base's", ratio, 5.0, 1e9),
        Requirement("slips undone moved, T = 1, points", 100 * change, -2.0, 2.0),
        points(truth, "how", -5.0, 5.0),
        *faithful(truth),
    ]


recipes.register("tiny-surface")(
    PairRecipe(
        truth_class="surface",
        says="words up, function flat: the claim that it backtracks more is refuted",
        card=(
            "The base is tiny-swap's, in whose world 'wait' begins sentences that do nothing. The "
            "thinking model was tuned on documents whose authors say it eight times as often and do "
            "everything else as before. A correct instrument says: the trigger word is everywhere, and a "
            "standing value is abandoned and recomputed as often as before. It fools every count of "
            "reflection words, and every feature that is found by them."
        ),
        requirements=taught_words,
        base=ModelRecipe("organism:tiny-swap/base"),
        thinking=ModelRecipe(
            "base", (TuneRecipe(steps=150, lr=5e-4, world="chain-swap", modes=Modes(filler=0.5)),)
        ),
        task="chain-swap",
        minutes=6,
    )
)
