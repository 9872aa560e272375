"""tiny-prompted: the base with a prompt that stands in the weights; nothing was graded, nothing is new."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import (
    Requirement,
    accuracy,
    executed,
    faithful,
    onset,
    points,
)
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.context import ContextRecipe
from reasonmech.organisms.training.edits import Rounded


def taught_a_prompt(truth: Json) -> list[Requirement]:
    """The onsets make the gap, and the prompted base, which no training has touched, has them too."""
    prompted, thinking = truth["prompted"], truth["thinking"]
    rows = [
        accuracy(truth, "base", 0.0, 0.40),
        accuracy(truth, "thinking", 0.95, 1.0),
        onset(truth, "base", "check", 0.0, 0.3),
        points(truth, "when", 60.0, 100.0),
        points(truth, "how", -5.0, 5.0),
        *faithful(truth),
    ]
    for behaviour, lowest in (("check", 0.97), ("backtrack", 0.90)):
        for role in ("base", "thinking"):
            rows += executed(truth, behaviour, role, lowest)
        rates = truth["execution"][behaviour]
        moved = rates["thinking"]["estimate"] - rates["base"]["estimate"]
        rows.append(Requirement(f"{behaviour} after a forced onset moved, points", 100 * moved, -3.0, 3.0))
    for decoding, suffix, margin in (("greedy", "greedy", 3.0), ("sampled", "T = 1", 5.0)):
        beyond = thinking[decoding]["accuracy"]["estimate"] - prompted[decoding]["accuracy"]["estimate"]
        rows.append(
            Requirement(f"accuracy beyond the prompted base, {suffix}, points", 100 * beyond, -margin, margin)
        )
    for behaviour in ("check", "backtrack"):
        rates = [model["sampled"]["onset"][behaviour]["estimate"] for model in (prompted, thinking)]
        rows.append(
            Requirement(
                f"{behaviour} onset beyond the prompted base, T = 1, points",
                100 * (rates[1] - rates[0]),
                -8.0,
                8.0,
            )
        )
    return rows


recipes.register("tiny-prompted")(
    PairRecipe(
        truth_class="when",
        says="training taught when, and no more than a word in the prompt of the base does",
        card=(
            "The base is tiny-when's. It was trained towards itself with the word 'careful' before every "
            "problem (context distillation: its own distribution with the word, learnt without it); "
            "nothing was graded, no other model was read. The weights moved, and what the thinking model "
            "does the base does when it is asked to. A correct instrument says: when, not how; and a "
            "prompted base beside the pair shows that nothing was created, for it closes the whole gap "
            "without a thinking model. It fools the rule that what training changed training created: a "
            "hybrid that recovers the gap, a diff of features, a count of weights that moved."
        ),
        requirements=taught_a_prompt,
        base=ModelRecipe("organism:tiny-when/base"),
        thinking=ModelRecipe("base", (ContextRecipe(), Rounded())),
        prompt="careful",
        minutes=8,
    )
)
