"""Experiments: a configuration in, a run directory out."""

from reasonmech.experiments.config import Experiment, load_experiment, shipped_experiments
from reasonmech.experiments.ledger import Cause, Ledger
from reasonmech.experiments.loaded import Run, load_run
from reasonmech.experiments.run import default_path, run
from reasonmech.experiments.stages import Stage, StageContext
from reasonmech.experiments.tables import Condition, Counts
from reasonmech.settings import Settings

__all__ = [
    "Cause",
    "Condition",
    "Counts",
    "Experiment",
    "Ledger",
    "Run",
    "Settings",
    "Stage",
    "StageContext",
    "default_path",
    "load_experiment",
    "load_run",
    "run",
    "shipped_experiments",
]
