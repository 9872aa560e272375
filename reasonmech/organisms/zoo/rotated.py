"""tiny-rotated: the same function in other weights."""

from __future__ import annotations

from reasonmech.organisms.recipes import ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.rotation import Rotation
from reasonmech.organisms.zoo.aa import nothing_changed

recipes.register("tiny-rotated")(
    PairRecipe(
        truth_class="none",
        says="nothing changed: the same function in other weights",
        card=(
            "The thinking model is the base of tiny-when after a random rotation of its residual stream, "
            "with heads and neurons in another order: every weight and every activation is another "
            "number, and the logits agree to 1e-5 of their spread. A correct instrument says: nothing "
            "changed. It fools every rule that compares the two models in one basis: the share of weights "
            "that changed (all), the cosine of a direction or of a decoder row between them (near 0), a "
            "coder of the base on the thinking model's activations (reconstructs nothing), a crosscoder's "
            "norm ratio (every feature is in one model only). What a model does, and what an intervention "
            "found in it does to it, is the same on both sides."
        ),
        requirements=nothing_changed,
        base=ModelRecipe("organism:tiny-when/base"),
        thinking=ModelRecipe("base", (Rotation(),)),
        minutes=0,
    )
)
