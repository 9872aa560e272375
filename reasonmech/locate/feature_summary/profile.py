"""Profile: what a feature does in the tokens before and after a behaviour begins, and where it could have
begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from reasonmech.errors import DataError
from reasonmech.frames import rows_where
from reasonmech.labels import Labels
from reasonmech.stats import LEVEL, MIN_PROBLEMS, bootstrap_weights

PROFILE_COLUMNS: Final = ("behaviour", "onset", "offset", "value", "low", "high", "n")


class Texts(NamedTuple):
    """Where every token of some captured texts stands.

    Attributes:
        rollout, problem: [token] numbers; the tokens of a rollout are consecutive.
        starts: [rollout] its first token.
        generated: [token] after the prompt.
        chosen: [token] generated, and by the model, not the environment.
        kind: [token] kind of the sentence it belongs to, "" outside of sentences.
    """

    rollout: np.ndarray
    problem: np.ndarray
    starts: np.ndarray
    generated: np.ndarray
    chosen: np.ndarray
    kind: np.ndarray


def onset_profile(
    column: np.ndarray, texts: Texts, labels: Sequence[Labels], *, reach: int = 20, draws: int = 500
) -> pd.DataFrame:
    """Mean activation at each offset from an opportunity, apart for those at which the behaviour began or did
    not.

    Offset 0 is the first token of the sentence that the behaviour is, or of the one that stands in its place.
    What differs at offsets below 0 was there before the first word of it.

    Args:
        column: [token] activations of one feature.
        labels: opportunities (mode "anticipates").

    Returns:
        Columns behaviour, onset (it began), offset (-reach to reach), value (mean activation, silence
        included), low, high (95 %, by problem; NaN below 5 problems), n (rows). Offsets outside the generated
        text are left out.

    Raises:
        DataError: labels that recognise, or that point outside the texts.
    """
    offsets = np.arange(-reach, reach + 1)
    parts = []
    for found in labels:
        if found.mode != "anticipates":
            raise DataError(
                f"labels of {found.behaviour!r} mark tokens inside spans: they have no onset to align to",
                do='give labels of opportunities: label(traces, behaviour, mode="anticipates")',
            )
        if len(found) and int(found.rollout.max()) >= len(texts.starts):
            raise DataError(
                f"labels of {found.behaviour!r} name rollout {int(found.rollout.max())} of "
                f"{len(texts.starts)}",
                do="label the traces that the activations were captured from",
            )
        for onset in (True, False):
            rows = found.positive == onset
            zero = texts.starts[found.rollout[rows]] + found.position[rows] + 1
            parts.append(
                _aligned(column, texts, zero, found.rollout[rows], offsets=offsets, draws=draws).assign(
                    behaviour=found.behaviour, onset=onset
                )
            )
    if not parts:
        return pd.DataFrame(columns=list(PROFILE_COLUMNS))
    return pd.concat(parts, ignore_index=True).reindex(columns=list(PROFILE_COLUMNS))


def _aligned(
    column: np.ndarray,
    texts: Texts,
    zero: np.ndarray,
    rollout: np.ndarray,
    *,
    offsets: np.ndarray,
    draws: int,
) -> pd.DataFrame:
    """Mean per offset with a bootstrap over problems."""
    at = zero[:, None] + offsets
    inside = (at >= 0) & (at < len(column))
    at = np.where(inside, at, 0)
    inside &= (texts.rollout[at] == rollout[:, None]) & texts.generated[at]
    values = np.where(inside, column[at], 0.0)
    problems, code = np.unique(texts.problem[texts.starts[rollout]], return_inverse=True)
    sums = np.zeros((len(problems), len(offsets)))
    counts = np.zeros_like(sums)
    np.add.at(sums, code, values)
    np.add.at(counts, code, inside)
    n = counts.sum(0)
    frame = pd.DataFrame({"offset": offsets, "value": sums.sum(0) / np.maximum(n, 1), "n": n.astype(int)})
    frame["low"], frame["high"] = ratio_intervals(sums, counts, draws=draws)
    return rows_where(frame, frame["n"] > 0)


def ratio_intervals(sums: np.ndarray, counts: np.ndarray, *, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % percentile bootstrap of sum / count, by problem; NaN where fewer than 5 problems have
    a row.

    Args:
        sums, counts: [problem, column].
    """
    if len(sums) < MIN_PROBLEMS:
        nothing = np.full(sums.shape[1], np.nan)
        return nothing, nothing
    drawn = []
    for weights in bootstrap_weights(len(sums), draws, 0):
        drawn.append((weights @ sums) / np.maximum(weights @ counts, 1e-12))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(drawn), (tail, 1 - tail), axis=0)
    few = (counts > 0).sum(0) < MIN_PROBLEMS
    return np.where(few, np.nan, low), np.where(few, np.nan, high)
