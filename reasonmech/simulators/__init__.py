"""Simulators without networks, whose truth is exact: planted dictionaries in R^d, and tabular policies."""

from reasonmech.simulators.exact import Expected, accuracy, accuracy_by_items, expected, pass_at_k, transitions
from reasonmech.simulators.pair import Factorial, TabularPair
from reasonmech.simulators.policy import (
    KINDS,
    Hazards,
    Mixture,
    Onset,
    Skills,
    Status,
    TabularPolicy,
    mix_skills,
)
from reasonmech.simulators.replicates import replicates, share_of
from reasonmech.simulators.simulate import TabularRollouts, simulate
from reasonmech.simulators.world import State, World

__all__ = [
    "KINDS", "Hazards", "Mixture", "Onset", "Skills", "Status", "TabularPolicy", "mix_skills",
    "State", "World", "Expected", "accuracy", "accuracy_by_items", "expected", "pass_at_k", "transitions",
    "Factorial", "TabularPair", "TabularRollouts", "simulate", "replicates", "share_of",
]  # fmt: skip
