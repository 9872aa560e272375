"""The hybrid: a base model that fires its own reasoning at the thinking model's moments."""

from reasonmech.hybrid.arms import CLAMPED, ORDER, Arm, arms, percent_steered
from reasonmech.hybrid.budget import Budget, BudgetConfig, measure_budget
from reasonmech.hybrid.configuration import HybridConfig, hybrid_from_config
from reasonmech.hybrid.decoder import Hybrid, HybridState
from reasonmech.hybrid.executors import ClampFeatures, Takeover, Vectors
from reasonmech.hybrid.gates import AtRandom, DisagreementGate, FormatGate, OfThinking, WrongCategory
from reasonmech.hybrid.guarded import Guarded
from reasonmech.hybrid.ingredients import Ingredients, PartitionVectors
from reasonmech.hybrid.less_oracle import LESS_ORACLE, RULES
from reasonmech.hybrid.log import Bits, ChoiceLog, ControllerLog, bits_passed
from reasonmech.hybrid.matching import Matched, NeutralTexts, OnsetBias
from reasonmech.hybrid.oracle_free import OnsetProbe, OracleFreeGate, OracleFreeSelector, fit_onset_probe
from reasonmech.hybrid.partition import (
    OfPartition,
    PartedTexts,
    Partition,
    PartitionConfig,
    fit_partition,
    partitions,
)
from reasonmech.hybrid.parts import Executor, HybridGate, Moment, Selector, executors, gates, selectors
from reasonmech.hybrid.power import PowerConfig, PowerSampled, PowerTexts
from reasonmech.hybrid.rules import BoundaryGate, FirstTokenGate, FixedCategory, Schedule, Times
from reasonmech.hybrid.same_text import FirstWords, SameText, first_words, same_texts
from reasonmech.hybrid.train import TrainedVectors, train_draws, train_vectors
from reasonmech.hybrid.unsteered import KeptGoing, Prompted, Sharpened
from reasonmech.hybrid.vector_arms import VECTOR_ARMS
from reasonmech.hybrid.vector_config import VectorConfig
from reasonmech.hybrid.vector_directory import OnDisk
from reasonmech.hybrid.vector_forms import VectorForm, forms
from reasonmech.kinds import Kinds

__all__ = [
    "CLAMPED",
    "LESS_ORACLE",
    "RULES",
    "VECTOR_ARMS",
    "Bits",
    "ChoiceLog",
    "ControllerLog",
    "bits_passed",
    "Budget",
    "BudgetConfig",
    "measure_budget",
    "Matched",
    "NeutralTexts",
    "OnsetBias",
    "OnsetProbe",
    "OracleFreeGate",
    "OracleFreeSelector",
    "fit_onset_probe",
    "BoundaryGate",
    "FirstTokenGate",
    "FixedCategory",
    "Schedule",
    "Times",
    "FirstWords",
    "SameText",
    "first_words",
    "same_texts",
    "FormatGate",
    "Guarded",
    "VectorForm",
    "forms",
    "KeptGoing",
    "PowerConfig",
    "PowerSampled",
    "PowerTexts",
    "Prompted",
    "Sharpened",
    "OfPartition",
    "PartedTexts",
    "Partition",
    "PartitionConfig",
    "PartitionVectors",
    "fit_partition",
    "partitions",
    "OnDisk",
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
    "train_draws",
    "train_vectors",
    "HybridState",
]
