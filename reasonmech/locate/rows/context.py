"""Context: what is known at a labelled row without any feature: covariates, and the model's own ceiling."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.labels import Labels
from reasonmech.rollout import Rollout, Trace
from reasonmech.runtime.activations.capture import capture
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts import Host
    from reasonmech.runtime.activations.activations import Activations

MAX_LEVELS = 12  # values of a category, after the most frequent, that get a column; all rarer share one
BINS = 10  # of a numeric covariate, at its quantiles: an onset model need not be linear in position
ROWS_PER_HEAD = 4096  # rows whose full-vocabulary logits are in memory at once


@dataclass(frozen=True, eq=False)
class Context:
    """What a search knows besides activations, one entry per labelled row, in the order of the labels.

    Attributes:
        covariates: numeric columns enter an onset model linearly and by tenths, others as indicators of their
            most frequent values. None: only what labels and activations tell by themselves (position,
            boundary number, and
            the token read, for as many tokens as there are: see `Hazard`).
        ceiling: [row] probability that the model itself gives the onset. No feature read from the same stream
            should be expected to anticipate better; None when not computed.
    """

    covariates: pd.DataFrame | None = None
    ceiling: np.ndarray | None = None

    def check(self, labels: Labels) -> None:
        """Raises DataError when something is not one entry per labelled row."""
        for name, value in (("covariates", self.covariates), ("ceiling", self.ceiling)):
            if value is not None and len(value) != len(labels):
                raise DataError(
                    f"{len(value)} rows of {name} for {len(labels)} labelled rows", do="give one per row"
                )


@checked
def next_token(
    host: Host,
    rollouts: Sequence[Rollout],
    labels: Labels,
    onset_ids: Collection[int],
    *,
    acts: Activations | None = None,
) -> pd.DataFrame:
    """What the host predicts after each labelled position: probability of an onset token, and entropy.

    Args:
        onset_ids: token ids that begin the behaviour; their probabilities are added.
        acts: activations of this host that hold the last layer's `resid_post`; captured here when None.

    Returns:
        Columns `onset_probability` and `entropy` (nats), one row per labelled row.
    """
    if not onset_ids:
        raise DataError(
            f"no onset token for behaviour {labels.behaviour!r}", do="give the ids of its first word"
        )
    unknown = sorted(token for token in onset_ids if not 0 <= token < host.vocab_size)
    if unknown:
        raise DataError(
            f"onset ids {unknown} of behaviour {labels.behaviour!r}: {host.name!r} has no such token",
            allowed=f"0 to {host.vocab_size - 1}",
        )
    last = Site("resid_post", host.n_layers - 1)
    if acts is None:
        acts = capture(host, rollouts, [last], progress=False)
    stream, onset = acts.rows(last, labels), torch.tensor(sorted(onset_ids))
    pieces = []
    with torch.no_grad():
        for rows in stream.split(ROWS_PER_HEAD):
            log_p = host.logits_of(rows).float().log_softmax(-1).cpu()
            pieces.append(
                torch.stack([log_p[:, onset].exp().sum(-1), -(log_p.exp() * log_p).nansum(-1)], dim=1)
            )
    return pd.DataFrame(torch.cat(pieces).numpy(), columns=["onset_probability", "entropy"])


@checked
def onset_probability(
    host: Host, rollouts: Sequence[Rollout], labels: Labels, onset_ids: Collection[int]
) -> np.ndarray:
    """[row] probability that the host itself begins the behaviour next: the ceiling of anticipation."""
    return next_token(host, rollouts, labels, onset_ids)["onset_probability"].to_numpy()


def previous_kinds(labels: Labels, traces: Sequence[Trace]) -> np.ndarray:
    """[row] kind of the sentence that holds the labelled position; "prompt" ahead of the generated text.

    Raises MismatchError where the labels were made from other texts.
    """
    labels.check_rollouts([trace.rollout for trace in traces])
    kinds = np.full(len(labels), "prompt", dtype=object)
    for row, (r, position) in enumerate(zip(labels.rollout, labels.position, strict=True)):
        trace = traces[r]
        offset = int(position) - len(trace.rollout.prompt_ids)
        if offset >= 0:
            kinds[row] = next((s.kind for s in trace.sentences if s.start <= offset < s.stop), "other")
    return kinds


def known_covariates(acts: Activations, labels: Labels) -> pd.DataFrame:
    """Position, boundary number within the rollout, and the token read: all known before the onset."""
    tokens = acts.index.set_index(["rollout", "position"])["token"]
    keys = pd.MultiIndex.from_arrays([labels.rollout, labels.position])
    boundary = pd.Series(labels.position).groupby(labels.rollout).rank(method="first").to_numpy()
    delimiter = tokens.loc[keys].astype(str).to_numpy()
    return pd.DataFrame(
        {"position": labels.position.astype(float), "boundary": boundary, "delimiter": delimiter}
    )


def design_matrix(covariates: pd.DataFrame, train: np.ndarray) -> np.ndarray:
    """[row, column]: intercept, each number standardised and by tenths, indicators of each category.

    A category has an indicator for each of its most frequent values, and one that all rarer ones share
    (`MAX_LEVELS`).

    Means, deviations, quantiles and category levels come from the rows where `train` is True. Columns without
    variation there are left out.

    Raises:
        DataError: a number is missing or infinite.
    """
    columns = []
    for name in covariates:
        values = covariates[name]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            number = values.to_numpy(np.float64)
            if not np.isfinite(number).all():
                missing = int((~np.isfinite(number)).sum())
                raise DataError(f"covariate {name!r} has {missing} missing or infinite values")
            edges = np.unique(np.quantile(number[train], np.linspace(0, 1, BINS + 1)[1:-1]))
            columns += [(number - number[train].mean()) / (number[train].std() or 1.0)]
            columns += [
                (np.searchsorted(edges, number) == i).astype(np.float64) for i in range(1, len(edges) + 1)
            ]
        else:
            text = values.astype(str).to_numpy()
            levels = pd.Series(text[train]).value_counts().index[: MAX_LEVELS + 1]
            columns += [(text == level).astype(np.float64) for level in levels[1:]]
            columns += [(~np.isin(text, levels)).astype(np.float64)]
    varying = [c for c in columns if c[train].std() > 1e-9]  # a constant would repeat the intercept
    return np.column_stack([np.ones(len(covariates)), *varying])
