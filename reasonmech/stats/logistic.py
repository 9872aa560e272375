"""Ridge logistic regression (scikit-learn's): the onset model of hazards and the probe."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import log_expit, logit

from reasonmech.errors import DataError


def fit_logistic(x: np.ndarray, positive: np.ndarray, *, l2: float = 1.0) -> np.ndarray:
    """Weights [covariate] that minimise the sum of -log p(row) + l2 / 2 |w|^2, the intercept unpenalised.

    Args:
        x: [row, covariate], standardised; the first column is the intercept.
        l2: a prior precision: 1.0 says that effects of one log-odds per standard deviation are common.

    Raises:
        DataError: the optimiser did not converge.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if x.shape[1] == 1:  # nothing but an intercept
        return np.array([logit(positive.mean())])
    model = LogisticRegression(C=1 / l2, tol=1e-6, max_iter=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(x[:, 1:], positive)
        except ConvergenceWarning as error:
            raise DataError(
                f"logistic regression did not converge: {error}", do="drop collinear columns"
            ) from error
    return np.r_[model.intercept_, model.coef_[0]]


def log_likelihood(x: np.ndarray, positive: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Log-likelihood [row] of the observed labels, in nats."""
    return log_expit(np.where(positive, 1.0, -1.0) * (x @ w))
