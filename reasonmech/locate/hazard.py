"""Hazard: how many nats per boundary a feature adds to an onset model that knows the context already."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy import stats as scipy_stats
from scipy.special import expit

from reasonmech.locate.logistic import fit_logistic, log_likelihood
from reasonmech.locate.sample import Sample, Search
from reasonmech.locate.score import Columns, Discovered, scores
from reasonmech.stats import MIN_PROBLEMS, Interval, ratio_interval


@scores.register("hazard")
class Hazard:
    """Gain in log-likelihood per boundary of a discrete-time (logistic) onset model when the feature joins it.

    gain = mean over boundaries of log p(onset | covariates, feature) - log p(onset | covariates). Both models are
    fitted on the training problems and compared on the held-out ones, so a useless feature has a gain of about 0 or
    less. Discovery replaces the refit of every feature by Rao's score statistic: gain ~ U^2 / (2 rows I).
    """

    unit = "nats per boundary"

    def discover(self, codes: sparse.csc_array, sample: Sample) -> Discovered:
        z = sample.design
        p = expit(z @ fit_logistic(z, sample.positive))
        residual, weight = sample.positive - p, p * (1 - p)
        information = (z * weight[:, None]).T @ z + 1e-9 * np.eye(z.shape[1])
        cross = np.asarray(codes.T @ (z * weight[:, None])).T  # [covariate, feature]
        slopes = np.linalg.solve(information, cross)  # each feature regressed on the covariates
        leftover = np.asarray(codes.power(2).T @ weight).ravel() - (cross * slopes).sum(0)

        entries = (residual, (sample.problem, np.arange(len(sample))))
        member = sparse.csr_array(entries, (sample.n_problems, len(sample)))
        per_problem = (member @ codes).toarray() - np.asarray(member @ z) @ slopes  # [problem, feature]
        u = per_problem.sum(0)
        spread = per_problem.var(0, ddof=1) * sample.n_problems
        rare = _problems_touched(codes, sample) < MIN_PROBLEMS
        untestable = rare | (leftover <= 1e-9 * len(sample)) | (spread <= 0)
        gain = np.divide(u**2, 2 * len(sample) * leftover, out=np.zeros_like(u), where=~untestable)
        score = np.divide(np.abs(u), np.sqrt(spread), out=np.zeros_like(u), where=~untestable)
        return Discovered(gain, np.sign(u), 2 * scipy_stats.norm.sf(score))

    def held_out(self, columns: Columns, train: Sample, test: Sample, search: Search) -> list[Interval]:
        context = fit_logistic(train.design, train.positive)
        before = log_likelihood(test.design, test.positive, context)
        rows = np.bincount(test.problem, minlength=test.n_problems)
        results = []
        for fitted, held in zip(columns.train.T, columns.test.T, strict=True):
            mean, sd = fitted.mean(), fitted.std() or 1.0
            x_train = np.c_[train.design, (fitted - mean) / sd]
            w = fit_logistic(x_train, train.positive)
            gain = log_likelihood(np.c_[test.design, (held - mean) / sd], test.positive, w) - before
            summed = np.bincount(test.problem, gain, test.n_problems)
            results.append(ratio_interval(summed, rows, draws=search.draws, seed=search.seed))
        return results


def _problems_touched(codes: sparse.csc_array, sample: Sample) -> np.ndarray:
    feature = np.repeat(np.arange(codes.shape[1]), np.diff(codes.indptr))
    cells = np.unique(feature * sample.n_problems + sample.problem[codes.indices])
    return np.bincount(cells // sample.n_problems, minlength=codes.shape[1])
