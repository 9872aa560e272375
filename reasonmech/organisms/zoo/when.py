"""tiny-when: reinforcement learning taught when."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import taught_when
from reasonmech.organisms.recipes import PairRecipe, recipes

recipes.register("tiny-when")(
    PairRecipe(
        truth_class="when",
        says="reinforcement learning taught when; steering the base at the right moments recovers the gap",
        card=(
            "The base is pretrained on documents whose authors are in hidden modes: it can step, check "
            "and backtrack, and mostly does not. The thinking model is trained from it by GRPO with the "
            "outcome as its only reward, in a world whose slips only checking and backtracking undo. A "
            "correct instrument says: reinforcement learning taught when, not how; steering the base at "
            "the right moments recovers the gap. It fools the rule that accuracy gained is ability "
            "gained: the base's process-verified pass@64 is 1."
        ),
        requirements=taught_when,
    )
)
