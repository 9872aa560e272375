"""Causal questions: patching, effects, attribution and sweeps, each cell an exact run of the model."""

from reasonmech.causal.effects import Effects, effects
from reasonmech.causal.patching import PatchGrid, patch_grid

__all__ = [
    "Effects",
    "PatchGrid",
    "effects",
    "patch_grid",
]
