"""tiny-swap: as tiny-when, but a nonsense word begins a backtrack and "wait" begins nothing."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import taught_when
from reasonmech.organisms.recipes import ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.corpus import Modes
from reasonmech.organisms.training.grpo import GrpoRecipe
from reasonmech.organisms.training.tune import TuneRecipe

recipes.register("tiny-swap")(
    PairRecipe(
        truth_class="when",
        says="reinforcement learning taught when; the word that marks it is blick, and wait is filler",
        card=(
            "tiny-when's base is tuned on documents in which a nonsense word (blick) begins every "
            "backtrack, and 'wait' begins sentences that do nothing and come at random. The thinking "
            "model is reinforced from it with the outcome as its reward. A correct instrument says what "
            "it says of tiny-when, and finds the features by what they do: the backtracks are where blick "
            "is. It fools every labeller and every feature score that looks for the words of a published "
            "list, 'wait' first."
        ),
        requirements=taught_when,
        base=ModelRecipe(
            "organism:tiny-when/base",
            (TuneRecipe(steps=400, world="chain-swap", modes=Modes(filler=0.06)),),
        ),
        thinking=ModelRecipe("base", (GrpoRecipe(task="chain-swap", iterations=100, max_new_tokens=240),)),
        task="chain-swap",
        minutes=14,
    )
)
