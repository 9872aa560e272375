"""Hazard: how many nats per boundary a feature adds to an onset model that knows the context already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from scipy import sparse
from scipy.special import expit

from reasonmech.locate.p_values import Discovered, by_problem_p
from reasonmech.locate.rows.by_token import beyond_token, standardised
from reasonmech.locate.rows.codes import Codes
from reasonmech.locate.rows.sample import Sample, Search
from reasonmech.locate.scoring.detection import Columns, DetectionScore
from reasonmech.locate.scoring.score import scores
from reasonmech.stats import MIN_PROBLEMS, Interval, ratio_interval
from reasonmech.stats.logistic import fit_logistic, log_likelihood


@scores.register("hazard")
@final
@dataclass(frozen=True)
class Hazard(DetectionScore):
    """Gain in log-likelihood per boundary of a discrete-time (logistic) onset model that the feature joins.

    gain = mean over boundaries of log p(onset | known, feature) - log p(onset | known). Both models are
    fitted on the training problems and compared on the held-out ones, so a useless feature has a gain of
    about 0 or less. What is known are the covariates and, of the token that is read, the feature's mean where
    other problems read it; the feature joins as its distance from that mean (`beyond_token`), so that a
    detector of tokens, common or rare, gains nothing. Discovery replaces the refit of every feature by Rao's
    score statistic, tokens being fixed effects: gain ~ U^2 / (2 rows I).
    """

    unit = "nats per boundary"

    def discover(self, codes: Codes, sample: Sample) -> Discovered:
        onset = expit(sample.design @ fit_logistic(sample.design, sample.positive))  # [row] probability
        inside = _within_token(sample, sample.positive - onset, onset * (1 - onset))
        z, weight, residual = inside.design, inside.weight, inside.residual
        # covariates may be collinear within tokens; the ridge is far below what they inform
        information = (z * weight[:, None]).T @ z + 1e-9 * np.eye(z.shape[1])
        cross = codes.weighted(z * weight[:, None])  # [covariate, feature]
        slopes = np.linalg.solve(information, cross)  # each feature regressed on the covariates
        by_token = inside.weights @ codes.matrix  # [token, feature]
        between_tokens = by_token.power(2).T @ (1 / inside.total)
        squares = np.bincount(
            codes.features, codes.values.astype(np.float64) ** 2 * weight[codes.rows], codes.n_features
        )
        leftover = squares - between_tokens - (cross * slopes).sum(0)

        u = codes.weighted(residual[:, None])[0] - slopes.T @ (z.T @ residual)
        inflated = residual * inside.inflation
        explained = Codes.of(z).by_group(inflated, sample.problem, sample.n_problems)  # [covariate, problem]
        per_problem = codes.by_group(inflated, sample.problem, sample.n_problems) - slopes.T @ explained
        per_problem -= (inside.by_problem @ (by_token / inside.total[:, None])).T.toarray()
        fires_in = codes.groups_touched(sample.problem, sample.n_problems)
        # a feature that tokens and covariates explain leaves rounding, whose sign would be noise
        untestable = (fires_in < MIN_PROBLEMS) | (leftover <= 1e-9 * np.maximum(squares, 1e-9))
        gain = np.divide(u**2, 2 * len(sample) * leftover, out=np.zeros_like(u), where=~untestable)
        parts = np.where(untestable[:, None], 0.0, per_problem).astype(np.float32)
        p = np.where(untestable, 1.0, by_problem_p(per_problem, fires_in))
        return Discovered(gain, np.sign(u), p, parts)

    def held_out(self, columns: Columns, train: Sample, test: Sample, search: Search) -> list[Interval]:
        fitted = np.arange(len(train) + len(test)) < len(train)
        design = np.concatenate([train.design, test.design])
        rows = np.bincount(test.problem, minlength=test.n_problems)
        results = []
        for values in np.concatenate(columns).T:
            known, rest = design, values
            if train.token is not None and test.token is not None:
                token, problem = np.r_[train.token, test.token], np.r_[train.problem, test.problem]
                mean, rest = beyond_token(values, token, problem, train=fitted)
                known = np.c_[design, standardised(mean, fitted)]
            likelihoods = []  # without the feature, with it
            for x in (known, np.c_[known, standardised(rest, fitted)]):
                w = fit_logistic(x[fitted], train.positive)
                likelihoods.append(log_likelihood(x[~fitted], test.positive, w))
            summed = np.bincount(test.problem, likelihoods[1] - likelihoods[0], test.n_problems)
            results.append(ratio_interval(summed, rows, draws=search.draws, seed=search.seed))
        return results


class _Within(NamedTuple):
    """The score problem with tokens as fixed effects: all less its weighted mean over rows of one token.

    Attributes:
        residual: [row], such that its sum with any activation is that with the activation less its token's
            mean.
        weight: [row] p (1 - p).
        design: [row, covariate] those that vary within a token.
        weights: [token, row] sparse, the weight of each row at its token.
        total: [token] sum of weights.
        by_problem: [problem, token] sparse, sum of residuals times their inflation.
        inflation: [row] sqrt(m / (m - 1)) for a token of m rows, whose residuals know their own mean (HC2 of
            MacKinnon and White 1985): without it, two rows of a rare token in two problems count as two
            witnesses.
    """

    residual: np.ndarray
    weight: np.ndarray
    design: np.ndarray
    weights: Any  # scipy's annotations hold shapes and products to be optional
    total: np.ndarray
    by_problem: Any
    inflation: np.ndarray


def _within_token(sample: Sample, residual: np.ndarray, weight: np.ndarray) -> _Within:
    rows = np.arange(len(sample))
    token = np.zeros(len(sample), dtype=int) if sample.token is None else sample.token
    _, token = np.unique(token, return_inverse=True)
    weights = sparse.csr_array((weight, (token, rows)), shape=(int(token.max()) + 1, len(sample)))
    total = weights.sum(1)
    means = (weights @ sample.design) / total[:, None]
    design = sample.design - means[token]
    left = residual - weight * (np.bincount(token, residual) / total)[token]
    n_rows = np.bincount(token)[token]
    inflation = np.sqrt(n_rows / np.maximum(n_rows - 1, 1))
    by_problem = sparse.csr_array(
        (left * inflation, (sample.problem, token)), shape=(sample.n_problems, len(total))
    )
    return _Within(
        left, weight, design[:, np.abs(design).max(0) > 1e-9], weights, total, by_problem, inflation
    )
