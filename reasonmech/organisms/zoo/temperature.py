"""tiny-temperature: one model, and the same one with logits divided by a temperature; both ways."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import Requirement, points
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.edits import Tempered

HOT, COLD = 2.0, 0.5


def only_sharpened(truth: Json) -> list[Requirement]:
    """Greedily the two are one model, problem by problem."""
    greedy, spliced = truth["outcomes"]["greedy"], truth["outcomes"]["spliced"]
    apart = sum(a != b for a, b in zip(greedy["base"], greedy["thinking"], strict=True))
    texts = len({*spliced.values()})
    gain = truth["thinking"]["sampled"]["accuracy"]["estimate"]
    gain -= truth["base"]["sampled"]["accuracy"]["estimate"]
    return [
        Requirement("greedy outcomes that differ", apart, 0, 0),
        Requirement("spliced cells with outcomes of their own", texts, 1, 1),
        points(truth, "when", 0.0, 0.0),
        points(truth, "how", 0.0, 0.0),
        Requirement("accuracy moved, T = 1, points", abs(100 * gain), 1.0, 100.0),
    ]


def _recipe(temperature: float, says: str, card: str) -> PairRecipe:
    return PairRecipe(
        truth_class="sharpened",
        says=says,
        card=card,
        requirements=only_sharpened,
        base=ModelRecipe("organism:tiny-when/thinking", (Tempered(temperature=temperature),)),
        thinking=ModelRecipe("organism:tiny-when/thinking"),
        minutes=0,
    )


recipes.register("tiny-temperature")(
    _recipe(
        HOT,
        "only sharpened: the same model at half the temperature",
        "The thinking model is tiny-when's, and the base is the same model with its logits halved, by the "
        "gain of its final norm: every argmax is the same, to the bit, and at T = 1 the base is what the "
        "thinking model is at T = 2. A correct instrument says: sharpened; greedily nothing differs. It "
        "fools every comparison at T = 1 that has no sharpened base beside it: onsets, execution and "
        "accuracy all rise.",
    )
)
recipes.register("tiny-temperature-cold")(
    _recipe(
        COLD,
        "only flattened: the same model at twice the temperature",
        "tiny-temperature the other way round: the base is tiny-when's thinking model with its logits "
        "doubled, and at T = 1 it is what the thinking model is at T = 0.5. A correct instrument says: "
        "the same argmax, the same distribution up to a temperature. It fools every comparison at T = 1 "
        "that has no tempered base beside it.",
    )
)
