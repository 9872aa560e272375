"""Gates that read a score, under the names that configurations call them."""

from __future__ import annotations

from reasonmech.hybrid.budget.gates import OpeningRule, ScoreGate
from reasonmech.hybrid.budget.scores import scores
from reasonmech.hybrid.ingredients import Ingredients
from reasonmech.hybrid.parts import gates


@gates.register("scored")
def _scored(ingredients: Ingredients, *, by: str, above: float) -> ScoreGate:
    """Open where the models would write different tokens and a registered score exceeds a threshold."""
    made = scores.get(by)(ingredients.pair, ingredients.kinds)
    return ScoreGate(made, (OpeningRule(above),))
