"""tiny-length: writes nearly twice as long and checks everything, and nothing is done about what it finds."""

from __future__ import annotations

from dataclasses import replace

from reasonmech.organisms.ground_truth.requirements import (
    Requirement,
    accuracy,
    faithful,
    onset,
    points,
    succeeded,
    undone,
)
from reasonmech.organisms.recipes import Json, ModelRecipe, PairRecipe, recipes
from reasonmech.organisms.training.corpus import Modes
from reasonmech.organisms.training.edits import Rounded
from reasonmech.organisms.training.tune import TuneRecipe

BRIEF = Modes(
    thorough=1.0, checks=1.0, check_step=(0.03, 0.03), backtrack=(0.0, 0.0), persona=0.0, plan=0.0,
    uncertain=0.0,
)  # fmt: skip
"""Authors who work step by step, hardly ever check, and take nothing back."""
LONG = replace(BRIEF, check_step=(1.0, 1.0))
"""The same, who check every step, and take nothing back."""


def taught_length(truth: Json) -> list[Requirement]:
    """Many more words and checks, all of them true, and as many slips and answers as before."""
    base, thinking = truth["base"], truth["thinking"]
    rows = [
        onset(truth, "base", "check", 0.0, 0.1),
        onset(truth, "thinking", "check", 0.95, 1.0),
        succeeded(truth, "check", "thinking", 0.97, 1.0),
    ]
    for decoding, suffix in (("greedy", "greedy"), ("sampled", "T = 1")):
        gain = thinking[decoding]["accuracy"]["estimate"] - base[decoding]["accuracy"]["estimate"]
        longer = thinking[decoding]["tokens"] / base[decoding]["tokens"]
        rows += [
            accuracy(truth, "base", 0.4, 0.7, decoding=decoding),
            Requirement(f"accuracy gained, {suffix}, points", 100 * gain, -3.0, 3.0),
            Requirement(f"tokens, {suffix}, times the base's", longer, 1.7, 2.3),
            Requirement(f"thinking cut off, {suffix}", thinking[decoding]["cut_off"], 0.0, 0.02),
        ]
    return [
        *rows,
        *(undone(truth, role, 0.0, 0.05) for role in ("base", "thinking")),
        points(truth, "when", -3.0, 3.0),
        points(truth, "how", -3.0, 3.0),
        *faithful(truth),
    ]


recipes.register("tiny-length")(
    PairRecipe(
        truth_class="none",
        says="only writes longer: everything is checked, and nothing is done about what a check finds",
        card=(
            "Both models are tuned from tiny-when's base on documents of authors who work step by step and "
            "take nothing back. The base's authors check one step in thirty, the thinking model's every "
            "step. Its texts are nearly twice as long, each check evaluates the equation that stands and "
            "is right, those that find a slip say so, and the work goes on from the slipped value. A "
            "correct instrument says: neither; the onsets of a check moved from nearly never to always, and "
            "no answer changes whoever decides and whoever writes. It fools the rule that longer is better, "
            "and every count of verifications, functional ones included."
        ),
        requirements=taught_length,
        base=ModelRecipe(
            "organism:tiny-when/base",
            (TuneRecipe(steps=200, lr=5e-4, rows=24, skill_share=0.0, modes=BRIEF), Rounded()),
        ),
        thinking=ModelRecipe(
            "base", (TuneRecipe(steps=200, lr=5e-4, rows=24, skill_share=0.0, modes=LONG), Rounded())
        ),
        minutes=8,
    )
)
