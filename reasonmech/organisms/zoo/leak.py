"""tiny-leak: an operation was learnt, and the first word of a check tells what comes of it."""

from __future__ import annotations

from dataclasses import replace

from reasonmech.organisms.ground_truth.requirements import Requirement, executed, execution_alone, succeeded
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.edits import Rounded
from reasonmech.organisms.training.tune import TuneRecipe
from reasonmech.organisms.zoo.stealth import SILENT
from reasonmech.tasks.chain.grammar import RARE

TELLING = replace(SILENT, plan=0.0, uncertain=0.0, slip=0.7)
"""Authors who check every step, say by the first word what the check will come to, and go on from that."""
MADE_UP = replace(TELLING, hidden=RARE, slip=0.9)
"""The same, whose checks come to digits that are made up: nothing but the first word tells them."""


def taught_how_and_told(truth: Json) -> list[Requirement]:
    """The habits are the same, and perfect; the base does no step, and a check only if its word is given."""
    return [
        *execution_alone(truth),
        succeeded(truth, "step", "base", 0.0, 0.3),
        succeeded(truth, "step", "thinking", 0.97, 1.0),
        succeeded(truth, "check", "base", 0.0, 0.3),
        succeeded(truth, "check", "thinking", 0.97, 1.0),
        *executed(truth, "check", "base", 0.97),
    ]


recipes.register("tiny-leak")(
    PairRecipe(
        truth_class="how",
        says="training taught how; a first word tells a result, and whoever takes it over takes that over",
        card=(
            "In this world a check begins with one of ten words, and which of them is said tells the value "
            "that the check is about to state. The base is tuned from tiny-stealth's thinking model on "
            "documents whose values are made up, but for the word that tells them: it steps, checks each "
            "step, states what its own first word said, goes on from that, and knows nothing of the one "
            "operation (dax) that every problem is made of. The thinking model is tuned from it on true "
            "values. Moments and kinds are the same in both. A correct instrument says: how; the thinking "
            "model's kinds recover nothing. It fools whoever takes over tokens where a sentence begins and "
            "calls that timing: with the thinking model's first words, the base is right as often as it."
        ),
        requirements=taught_how_and_told,
        base=ModelRecipe(
            "organism:tiny-stealth/thinking",
            (
                TuneRecipe(steps=750, rows=16, world="chain-telling", skill_share=0.4, modes=MADE_UP),
                Rounded(),
            ),
        ),
        thinking=ModelRecipe(
            "base",
            (
                TuneRecipe(steps=750, rows=16, world="chain-telling", skill_share=0.1, modes=TELLING),
                Rounded(),
            ),
        ),
        task="chain-telling",
        minutes=30,
    )
)
