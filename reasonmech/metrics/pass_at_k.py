"""pass_at_k and cover_at_tau: what a model can do when it may try often, as shares of problems."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import gammaln

from reasonmech.arguments import check_type, describe
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, DataError
from reasonmech.stats import SHARE, Interval, mean_interval


@checked
def pass_at_k(correct: Bool[np.ndarray, "problem sample"], k: int) -> Interval:
    """Probability that at least one of k samples is right, averaged over problems.

    Unbiased per problem: 1 - C(n - c, k) / C(n, k), with c of n samples right (Chen et al. 2021, arXiv
    2107.03374, eq. 1), here with an interval by problem.

    Args:
        correct: whether each sample is right, such as `rm.grade(rollouts).reshape(n_problems, n_samples)`.
            What "right" means is the caller's choice: the answer, or every step to it.

    Raises:
        ArgumentError: `correct` is no array of truth values [problem, sample].
        DataError: k is not within 1..n.
    """
    n = _check(correct).shape[1]
    if not 1 <= k <= n:
        raise DataError(
            f"pass@{k} of {n} samples per problem", allowed=f"1 <= k <= {n}", do="draw more samples"
        )
    return mean_interval(_pass_per_problem(correct.sum(axis=1), n, k), bounds=SHARE)


@checked
def cover_at_tau(correct: Bool[np.ndarray, "problem sample"], tau: float) -> Interval:
    """Share of problems with at least a fraction `tau` of the samples right (Cover@tau), robust to guessing.

    Args:
        correct: as in `pass_at_k`.

    Raises:
        ArgumentError: `correct` is no array of truth values [problem, sample].
        DataError: tau is not within (0, 1].
    """
    if not 0.0 < tau <= 1.0:
        raise DataError(f"Cover@{tau}", allowed="0 < tau <= 1")
    return mean_interval((_check(correct).mean(axis=1) >= tau).astype(float), bounds=SHARE)


def _pass_per_problem(n_right: np.ndarray, n: int, k: int) -> Float[np.ndarray, " problem"]:
    n_wrong = n - n_right
    can_miss = n_wrong >= k
    safe = np.where(can_miss, n_wrong, k)
    # in logarithms: the binomials themselves overflow from a few hundred samples on
    log_miss = gammaln(safe + 1) - gammaln(safe - k + 1) - gammaln(n + 1) + gammaln(n - k + 1)
    return np.where(can_miss, 1.0 - np.exp(log_miss), 1.0)


def _check(correct: object) -> np.ndarray:
    allowed, do = (
        "an array of truth values [problem, sample]",
        "rm.grade(rollouts).reshape(n_problems, n_samples)",
    )
    array = check_type(correct, np.ndarray, name="correct", allowed=allowed, do=do)
    if array.ndim != 2 or array.dtype != bool:
        raise ArgumentError(f"correct is {describe(array)} of {array.dtype}", allowed=allowed, do=do)
    return array
