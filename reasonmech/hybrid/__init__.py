"""The hybrid: a base model that fires its own reasoning at the thinking model's moments."""

from reasonmech.hybrid.arms import ORDER, Arm, Ingredients, arms, percent_steered
from reasonmech.hybrid.decoder import Hybrid
from reasonmech.hybrid.executors import ClampFeatures, Takeover, Vectors
from reasonmech.hybrid.gates import AtRandom, Disagree, OfThinking, WrongCategory
from reasonmech.hybrid.kinds import Kinds
from reasonmech.hybrid.parts import Executor, Gate, Moment, Selector, executors, gates, selectors
from reasonmech.hybrid.train import TrainedVectors, VectorConfig, train_vectors

__all__ = [
    "ORDER",
    "Arm",
    "AtRandom",
    "ClampFeatures",
    "Disagree",
    "Executor",
    "Gate",
    "Hybrid",
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
    "percent_steered",
    "selectors",
    "train_vectors",
]
