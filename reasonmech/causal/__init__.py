"""Causal questions: patching, effects, attribution and sweeps, each cell an exact run of the model."""

from reasonmech.causal.effects import Effects, effects
from reasonmech.causal.patching import PatchGrid, patch_grid
from reasonmech.causal.sweep import estimate_sweep, sweep
from reasonmech.causal.sweep_rollouts import sweep_rollouts
from reasonmech.causal.sweep_run import SweepEstimate
from reasonmech.causal.sweep_table import SweepTable
from reasonmech.causal.sweep_values import Configuration, grid

__all__ = [
    "Effects",
    "PatchGrid",
    "Configuration",
    "SweepEstimate",
    "SweepTable",
    "effects",
    "estimate_sweep",
    "grid",
    "patch_grid",
    "sweep",
    "sweep_rollouts",
]
