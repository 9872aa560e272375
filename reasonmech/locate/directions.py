"""Directions from labelled activations: the baselines that a feature has to beat."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.interventions import Direction
from reasonmech.labels import Labels
from reasonmech.registry import Registry
from reasonmech.site import Site
from reasonmech.stats.logistic import fit_logistic, log_likelihood

if TYPE_CHECKING:
    from reasonmech.runtime.activations.activations import Activations

PROBE_PENALTIES = (1.0, 30.0, 1000.0)

methods: Registry[Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = Registry("direction method")


@methods.register("diff_mean")
def diff_mean(x: np.ndarray, positive: np.ndarray, problem: np.ndarray) -> np.ndarray:
    """Mean of the positive rows minus mean of the others, [d_model], in residual-norm units."""
    return x[positive].mean(0) - x[~positive].mean(0)


@methods.register("probe")
def probe(x: np.ndarray, positive: np.ndarray, problem: np.ndarray) -> np.ndarray:
    """Weights of a ridge logistic probe on standardised activations, in raw coordinates: [d_model].

    The penalty is the one of `PROBE_PENALTIES` with the best likelihood on a fifth of the problems, held out
    inside.
    """
    mean, sd = x.mean(0), x.std(0)
    sd = np.where(sd > 0, sd, 1.0)
    design = np.c_[np.ones(len(x)), (x - mean) / sd]
    inner = problem % 5 == 0
    if positive[~inner].all() or not positive[~inner].any() or not inner.any():
        raise DataError(
            f"a probe on {len(np.unique(problem))} problems can't hold a fifth of them out and keep both "
            "kinds of row",
            do="use more problems, or method='diff_mean'",
        )

    def inner_value(l2: float) -> float:
        fitted = fit_logistic(design[~inner], positive[~inner], l2=l2)
        return float(log_likelihood(design[inner], positive[inner], fitted).mean())

    return fit_logistic(design, positive, l2=max(PROBE_PENALTIES, key=inner_value))[1:] / sd


def fit_vector(x: np.ndarray, positive: np.ndarray, problem: np.ndarray, *, method: str) -> np.ndarray:
    """A unit vector [d_model] that points towards the positive rows.

    Args:
        x: [row, d_model].
        positive: [row].
        problem: [row] problem number.

    Raises:
        DataError: one of the two classes is empty, or they do not differ.
        NonFiniteError: an activation is NaN or infinite.
    """
    if positive.all() or not positive.any():
        raise DataError(
            f"{int(positive.sum())} of {len(positive)} rows are positive", do="give rows of both kinds"
        )
    if not np.isfinite(x).all():
        rows = np.flatnonzero(~np.isfinite(x).all(1))
        raise NonFiniteError(
            f"{len(rows)} of {len(x)} rows hold NaN or infinite activations, the first is {rows[0]}"
        )
    vector = methods.get(method)(np.asarray(x, dtype=np.float64), positive, problem)
    norm = float(np.linalg.norm(vector))
    if norm == 0:
        raise DataError(
            f"{method} found no difference between positive and other rows", do="check labels and site"
        )
    return vector / norm


def direction(acts: Activations, labels: Labels, *, site: Site | str, method: str = "diff_mean") -> Direction:
    """The unit direction at `site` along which positive rows lie apart from the others.

    diff_mean: mean(positive) - mean(others) (Marks and Tegmark 2023, arXiv 2310.06824); probe: weights of a
    logistic regression. It is fitted on every row given: hold problems out yourself before you score it on
    them.

    Args:
        acts: captured activations that hold every labelled position.
        labels: rows and whether each is positive.
        method: "diff_mean", "probe", or a kind that a plug-in registered.

    Raises:
        UnknownNameError: no such method.
        DataError: only one kind of row, or no difference between them.
    """
    site = Site.parse(site)
    x = acts.rows(site, labels).float().numpy()
    _, problem = np.unique(labels.problem, return_inverse=True)
    vector = fit_vector(x, labels.positive, problem, method=method)
    unit = torch.nn.functional.normalize(torch.from_numpy(vector), dim=0).float()
    return Direction(unit, site, name=f"{labels.behaviour} {method}")
