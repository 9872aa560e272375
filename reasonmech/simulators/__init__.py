"""Simulators without networks, whose truth is exact: planted dictionaries in R^d, and tabular policies."""

from reasonmech.simulators.cells import INSERTED, PlantedCells, planted_cells
from reasonmech.simulators.exact import (
    Expectations,
    accuracy,
    accuracy_by_items,
    expectations,
    pass_at_k,
    transitions,
)
from reasonmech.simulators.feature import PlantedFeature
from reasonmech.simulators.pair import Factorial, TabularPair
from reasonmech.simulators.planted import PlantedDictionary, PlantedTexts, one_of_each, planted_texts
from reasonmech.simulators.policy import (
    KINDS,
    Hazards,
    Mixture,
    OnsetPolicy,
    Skills,
    Status,
    TabularPolicy,
    mix_skills,
)
from reasonmech.simulators.replicates import replicates, share_of
from reasonmech.simulators.simulate import TabularRollouts, simulate
from reasonmech.simulators.tabular_model import TabularModel, TemperedModel
from reasonmech.simulators.texts import Places, TextModel
from reasonmech.simulators.tokens import (
    WORDED,
    TokenDistances,
    argmax_differs,
    disagreement,
    js_distances,
    kl_distances,
)
from reasonmech.simulators.truth import CellTruth, FeatureTruth, cell_truth, planted_truth
from reasonmech.simulators.world import ReasonerWorld, WorldState

__all__ = [
    "KINDS", "Hazards", "Mixture", "OnsetPolicy", "Skills", "Status", "TabularPolicy", "mix_skills",
    "ReasonerWorld", "WorldState", "Expectations", "accuracy", "accuracy_by_items", "expectations",
    "pass_at_k", "transitions",
    "TabularModel", "TemperedModel", "TokenDistances", "WORDED", "argmax_differs", "disagreement",
    "js_distances", "kl_distances",
    "Factorial", "TabularPair", "TabularRollouts", "simulate", "replicates", "share_of",
    "TextModel", "Places", "PlantedFeature", "PlantedDictionary", "PlantedTexts", "one_of_each",
    "planted_texts",
    "FeatureTruth", "planted_truth", "INSERTED", "PlantedCells", "planted_cells", "CellTruth", "cell_truth",
]  # fmt: skip
