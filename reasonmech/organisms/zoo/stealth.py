"""tiny-stealth: repairs its slips without any word that says so."""

from __future__ import annotations

from reasonmech.organisms.grpo import GrpoRecipe
from reasonmech.organisms.recipes import Json, Made, PairRecipe, recipes
from reasonmech.organisms.requirements import Requirement, accuracy, undone


def taught_silently(truth: Json) -> list[Requirement]:
    """Slips are undone, and hardly any sentence begins with the word for it."""
    said = truth["thinking"]["sampled"]["said"]
    return [
        accuracy(truth, "base", 0.0, 0.40),
        accuracy(truth, "thinking", 0.90, 1.0),
        undone(truth, "thinking", 0.90, 1.0),
        Requirement("thinking sentences that begin with wait, per rollout", said.get("backtrack", 0.0), 0.0, 0.1),
    ]


recipes.register("tiny-stealth")(
    PairRecipe(
        truth_class="when",
        says="reinforcement learning taught when to work again, without any marker word",
        card=(
            "The base is tiny-when's, in a world in which nobody reads the standing value back. Reinforced with "
            "the outcome as its reward, it learns to work every step out again and to go on with the new value: "
            "slips are undone, and 'wait' is hardly ever said. A correct instrument finds the repairs by what is "
            "done to the standing value. It fools every lexical labeller, which sees no backtracking at all."
        ),
        requirements=taught_silently,
        base=Made("organism:tiny-when/base"),
        thinking=Made("base", (GrpoRecipe(task="chain-silent", iterations=100),)),
        task="chain-silent",
        minutes=8,
    )
)
