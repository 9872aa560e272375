"""Statistics whose unit is the problem: intervals, tests, AUROC, and agreement of two labellers (Cohen's
kappa)."""

from reasonmech.stats.auroc import auroc
from reasonmech.stats.hypothesis_tests import Equivalence, McNemar, bh, holm, max_t, mcnemar, tost
from reasonmech.stats.intervals import (
    DRAWS,
    LEVEL,
    MIN_PROBLEMS,
    Interval,
    Recovery,
    bootstrap_weights,
    by_problem,
    clopper_pearson,
    fieller,
    mean_interval,
    paired_bootstrap,
    ratio_interval,
    recovery,
)

__all__ = [
    "DRAWS",
    "LEVEL",
    "MIN_PROBLEMS",
    "Equivalence",
    "Interval",
    "McNemar",
    "Recovery",
    "auroc",
    "bh",
    "bootstrap_weights",
    "by_problem",
    "clopper_pearson",
    "fieller",
    "holm",
    "max_t",
    "mcnemar",
    "mean_interval",
    "paired_bootstrap",
    "ratio_interval",
    "recovery",
    "tost",
]
