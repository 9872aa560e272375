"""tiny-aa: the same model on both sides."""

from __future__ import annotations

from reasonmech.organisms.ground_truth.requirements import Requirement, points
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes


def nothing_changed(truth: Json) -> list[Requirement]:
    """One function on both sides: whatever is measured is the same, but for a tie of two logits."""
    base, thinking = truth["base"], truth["thinking"]
    rows = [points(truth, factor, -0.5, 0.5) for factor in ("when", "how")]
    for decoding, suffix in (("greedy", "greedy"), ("sampled", "T = 1")):
        gain = thinking[decoding]["accuracy"]["estimate"] - base[decoding]["accuracy"]["estimate"]
        rows.append(Requirement(f"accuracy gained, {suffix}, points", 100 * gain, -0.5, 0.5))
    for behaviour in ("check", "backtrack"):
        rates = [model["sampled"]["onset"][behaviour]["estimate"] for model in (base, thinking)]
        rows.append(
            Requirement(f"{behaviour} onset moved, T = 1, points", 100 * (rates[1] - rates[0]), -0.5, 0.5)
        )
    for behaviour, models in truth["execution"].items():
        change = 100 * (models["thinking"]["estimate"] - models["base"]["estimate"])
        rows.append(Requirement(f"{behaviour} after a forced onset moved, points", change, -0.5, 0.5))
    return rows


recipes.register("tiny-aa")(
    PairRecipe(
        truth_class="none",
        says="nothing changed: every difference is exactly zero",
        card=(
            "The base of tiny-when stands on both sides; nothing was trained, and no weight is stored "
            "again. A correct instrument says: nothing changed. Whatever differs here is noise of the "
            "measurement itself. It fools the rules that compare rollouts sampled with different noise, "
            "and those that divide by the gap between the models: the gap is zero, the recovery has no "
            "value, and a script that clips it prints 0 or 100 %."
        ),
        requirements=nothing_changed,
        base=ModelRecipe("organism:tiny-when/base"),
        thinking=ModelRecipe("organism:tiny-when/base"),
        minutes=0,
    )
)
