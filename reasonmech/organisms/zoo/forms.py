"""tiny-forms: as tiny-when, but each kind of sentence has three first words, and training changed them too."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import taught_when
from reasonmech.organisms.recipes import ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.corpus import Modes
from reasonmech.organisms.training.grpo import GrpoRecipe
from reasonmech.organisms.training.tune import TuneRecipe

OTHER_FORMS = Modes(usual_form=0.2)
"""Authors who do what the base's do, and say it in the other words."""

recipes.register("tiny-forms")(
    PairRecipe(
        truth_class="when",
        says="reinforcement learning taught when; the models also differ in which word begins a sentence",
        card="",
        requirements=taught_when,
        base=ModelRecipe("organism:tiny-when/base", (TuneRecipe(steps=400, world="chain-forms"),)),
        thinking=ModelRecipe(
            "base",
            (
                TuneRecipe(steps=150, lr=5e-4, world="chain-forms", modes=OTHER_FORMS),
                GrpoRecipe(task="chain-forms", iterations=100),
            ),
        ),
        task="chain-forms",
        minutes=14,
    )
)
