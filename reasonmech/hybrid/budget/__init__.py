"""Budgets: how far a few of the other model's tokens go, the tokens ranked by one score or another."""

from reasonmech.hybrid.budget import registered as _registered
from reasonmech.hybrid.budget.config import BudgetConfig
from reasonmech.hybrid.budget.gates import EntropyMatchedGate, OpeningRule, ScoreGate, fit_rules
from reasonmech.hybrid.budget.measure import Budget, measure_budget
from reasonmech.hybrid.budget.scores import TokenScore, scores

del _registered

__all__ = [
    "Budget",
    "BudgetConfig",
    "EntropyMatchedGate",
    "OpeningRule",
    "TokenScore",
    "ScoreGate",
    "fit_rules",
    "measure_budget",
    "scores",
]
