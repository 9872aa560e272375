"""Sweeps: every cell of a grid of interventions, in shards that survive a kill."""

from reasonmech.causal.sweeps.configurations import Configuration, grid
from reasonmech.causal.sweeps.rollouts import sweep_rollouts
from reasonmech.causal.sweeps.run import SweepEstimate
from reasonmech.causal.sweeps.sweep import estimate_sweep, sweep
from reasonmech.causal.sweeps.table import SweepTable
from reasonmech.causal.sweeps.trials import RolloutTrials, TextTrials

__all__ = [
    "Configuration",
    "RolloutTrials",
    "SweepEstimate",
    "SweepTable",
    "TextTrials",
    "estimate_sweep",
    "grid",
    "sweep",
    "sweep_rollouts",
]
