"""Statistics whose unit is the problem: intervals, recovery, tests, AUROC, Cohen's kappa."""

from reasonmech.stats.auroc import auroc
from reasonmech.stats.hypothesis_tests import Equivalence, McNemar, bh, holm, max_t, mcnemar, tost
from reasonmech.stats.intervals import (
    DRAWS,
    LEVEL,
    Interval,
    clopper_pearson,
    fieller,
    mean_interval,
    paired_bootstrap,
    ratio_interval,
)
from reasonmech.stats.kappa import Agreement, cohen_kappa
from reasonmech.stats.problems import MIN_PROBLEMS, bootstrap_weights, by_problem
from reasonmech.stats.recovery import Recovery, recovery

__all__ = [
    "DRAWS",
    "LEVEL",
    "MIN_PROBLEMS",
    "Agreement",
    "Equivalence",
    "Interval",
    "McNemar",
    "Recovery",
    "auroc",
    "bh",
    "bootstrap_weights",
    "by_problem",
    "clopper_pearson",
    "cohen_kappa",
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
