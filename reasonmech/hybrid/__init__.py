"""The hybrid: a base model that fires its own reasoning at the thinking model's moments."""

from reasonmech.hybrid.arms import ORDER, Arm, arms, percent_steered
from reasonmech.hybrid.configuration import HybridConfig, hybrid_from_config
from reasonmech.hybrid.decoder import Hybrid, HybridState
from reasonmech.hybrid.executors import ClampFeatures, Takeover, Vectors
from reasonmech.hybrid.gates import AtRandom, DisagreementGate, OfThinking, WrongCategory
from reasonmech.hybrid.ingredients import Ingredients
from reasonmech.hybrid.parts import Executor, HybridGate, Moment, Selector, executors, gates, selectors
from reasonmech.hybrid.train import TrainedVectors, VectorConfig, train_vectors
from reasonmech.kinds import Kinds

__all__ = [
    "ORDER",
    "Arm",
    "AtRandom",
    "ClampFeatures",
    "DisagreementGate",
    "Executor",
    "Hybrid",
    "HybridConfig",
    "HybridGate",
    "Ingredients",
    "Kinds",
    "Moment",
    "OfThinking",
    "Selector",
    "Takeover",
    "TrainedVectors",
    "VectorConfig",
    "Vectors",
    "WrongCategory",
    "arms",
    "executors",
    "gates",
    "hybrid_from_config",
    "percent_steered",
    "selectors",
    "train_vectors",
    "HybridState",
]
