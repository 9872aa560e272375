"""Causal questions: patching, effects, attribution and sweeps, each cell an exact run of the model."""

from reasonmech.causal.attribution import Attribution, IntegratedGradients, attribute
from reasonmech.causal.audit import Audit, audit
from reasonmech.causal.coder_set import CoderSet
from reasonmech.causal.effects import Effects, effects
from reasonmech.causal.faithfulness import Faithfulness, faithfulness
from reasonmech.causal.feature_groups import FeatureGroups
from reasonmech.causal.patching import PatchGrid, patch_grid
from reasonmech.causal.sweeps.configurations import Configuration, grid
from reasonmech.causal.sweeps.rollouts import sweep_rollouts
from reasonmech.causal.sweeps.run import SweepEstimate
from reasonmech.causal.sweeps.sweep import estimate_sweep, sweep
from reasonmech.causal.sweeps.table import SweepTable
from reasonmech.causal.text_pairs import TextPairs

__all__ = [
    "TextPairs",
    "Attribution",
    "CoderSet",
    "IntegratedGradients",
    "Audit",
    "Effects",
    "Faithfulness",
    "FeatureGroups",
    "PatchGrid",
    "Configuration",
    "SweepEstimate",
    "SweepTable",
    "attribute",
    "audit",
    "effects",
    "estimate_sweep",
    "faithfulness",
    "grid",
    "patch_grid",
    "sweep",
    "sweep_rollouts",
]
