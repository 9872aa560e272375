"""Coverage: what a model can do when it may try often. "Right" is the caller's choice: the answer, or the
process."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import gammaln

from reasonmech.errors import DataError
from reasonmech.stats import Interval, mean_interval


def pass_at_k(correct: Bool[np.ndarray, "problem sample"], k: int) -> Interval:
    """Probability that at least one of k samples is right, averaged over problems.

    Unbiased per problem: 1 - C(n - c, k) / C(n, k), with c of n samples right (Chen et al. 2021, arXiv
    2107.03374, eq. 1), here with a bootstrap interval over problems.

    Raises:
        DataError: k is not within 1..n.
    """
    n = correct.shape[1]
    if not 1 <= k <= n:
        raise DataError(
            f"pass@{k} of {n} samples per problem", allowed=f"1 <= k <= {n}", do="draw more samples"
        )
    return mean_interval(_pass_per_problem(correct.sum(axis=1), n, k))


def _pass_per_problem(right: np.ndarray, n: int, k: int) -> Float[np.ndarray, " problem"]:
    wrong = n - right
    enough = wrong >= k
    safe = np.where(enough, wrong, k)
    log_miss = gammaln(safe + 1) - gammaln(safe - k + 1) - gammaln(n + 1) + gammaln(n - k + 1)
    return np.where(enough, 1.0 - np.exp(log_miss), 1.0)


def cover_at_tau(correct: Bool[np.ndarray, "problem sample"], tau: float) -> Interval:
    """Share of problems of which at least a fraction `tau` of the samples is right (Cover@tau): robust to
    guessing.

    Raises:
        DataError: tau is not within (0, 1].
    """
    if not 0.0 < tau <= 1.0:
        raise DataError(f"Cover@{tau}", allowed="0 < tau <= 1")
    return mean_interval((correct.mean(axis=1) >= tau).astype(float))
