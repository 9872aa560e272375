"""Statistics whose unit is the problem: intervals, recovery, factorial, tests, power, AUROC, kappa."""

from reasonmech.stats.auroc import auroc
from reasonmech.stats.bounded import CONTRAST, SHARE, Bounds, bounds_of
from reasonmech.stats.factorial import FactorialEffects, factorial
from reasonmech.stats.hypothesis_tests import (
    Equivalence,
    McNemar,
    bh,
    fewest_problems,
    holm,
    max_t,
    mcnemar,
    tost,
)
from reasonmech.stats.intervals import (
    DRAWS,
    LEVEL,
    Interval,
    clopper_pearson,
    fieller,
    mean_interval,
    paired_bootstrap,
    rate_interval,
    ratio_interval,
)
from reasonmech.stats.kappa import Agreement, cohen_kappa
from reasonmech.stats.null_distribution import NullDistribution, null_distribution
from reasonmech.stats.power import detectable_difference, problems_for_difference, problems_for_equivalence
from reasonmech.stats.problems import MIN_PROBLEMS, bootstrap_weights, by_problem
from reasonmech.stats.recovery import Recovery, recovery

__all__ = [
    "CONTRAST",
    "DRAWS",
    "LEVEL",
    "MIN_PROBLEMS",
    "SHARE",
    "Agreement",
    "Bounds",
    "Equivalence",
    "FactorialEffects",
    "Interval",
    "McNemar",
    "NullDistribution",
    "Recovery",
    "auroc",
    "bh",
    "bootstrap_weights",
    "bounds_of",
    "by_problem",
    "clopper_pearson",
    "cohen_kappa",
    "detectable_difference",
    "factorial",
    "fewest_problems",
    "fieller",
    "holm",
    "max_t",
    "mcnemar",
    "mean_interval",
    "null_distribution",
    "paired_bootstrap",
    "problems_for_difference",
    "problems_for_equivalence",
    "rate_interval",
    "ratio_interval",
    "recovery",
    "tost",
]
