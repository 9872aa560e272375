"""tiny-forms: as tiny-when, but a kind of sentence has three first words, and training changed those too."""

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
        says="reinforcement learning taught when; which words the models begin with is no matter",
        card=(
            "tiny-when's base is tuned on documents of a world in which three words begin each kind of "
            "sentence. The thinking model is first tuned on documents of the same habits that prefer the "
            "other words, then reinforced with the outcome as its reward. The two differ in most first "
            "words and agree about most kinds. A correct instrument says what it says of tiny-when, of "
            "kinds: a category is no token, and is as probable as all of its words together. It fools "
            "every count of tokens that differ, and every gate, hazard and splice that knows one word."
        ),
        requirements=taught_when,
        base=ModelRecipe("organism:tiny-when/base", (TuneRecipe(steps=400, world="chain-forms"),)),
        thinking=ModelRecipe(
            "base",
            (
                TuneRecipe(steps=150, lr=5e-4, world="chain-forms", modes=OTHER_FORMS),
                GrpoRecipe(task="chain-forms", iterations=60),
            ),
        ),
        task="chain-forms",
        minutes=14,
    )
)
