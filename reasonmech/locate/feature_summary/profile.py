"""Profile: what a feature does around the tokens at which a behaviour begins, or could have begun."""

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


class TokenLayout(NamedTuple):
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
    column: np.ndarray, texts: TokenLayout, labels: Sequence[Labels], *, reach: int = 20, draws: int = 500
) -> pd.DataFrame:
    """Mean activation at each offset from an opportunity, apart for those that the behaviour took or did not.

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
    for of_behaviour in labels:
        if of_behaviour.mode != "anticipates":
            raise DataError(
                f"labels of {of_behaviour.behaviour!r} mark tokens inside spans: they have no onset to "
                "align to",
                do='give labels of opportunities: label(traces, behaviour, mode="anticipates")',
            )
        if len(of_behaviour) and int(of_behaviour.rollout.max()) >= len(texts.starts):
            raise DataError(
                f"labels of {of_behaviour.behaviour!r} name rollout {int(of_behaviour.rollout.max())} of "
                f"{len(texts.starts)}",
                do="label the traces that the activations were captured from",
            )
        for onset in (True, False):
            rows = of_behaviour.take(of_behaviour.positive == onset)
            profile = _align(column, texts, rows, offsets=offsets, draws=draws)
            parts.append(profile.assign(behaviour=of_behaviour.behaviour, onset=onset))
    if not parts:
        return pd.DataFrame(columns=list(PROFILE_COLUMNS))
    return pd.concat(parts, ignore_index=True).reindex(columns=list(PROFILE_COLUMNS))


def _align(
    column: np.ndarray, texts: TokenLayout, labels: Labels, *, offsets: np.ndarray, draws: int
) -> pd.DataFrame:
    """Mean per offset with a bootstrap over problems."""
    rollout = labels.rollout
    at = (texts.starts[rollout] + labels.position + 1)[:, None] + offsets
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
    """Ends of the 95 % bootstrap of sum / count over problems; NaN where fewer than 5 of them have a row.

    Args:
        sums, counts: [problem, column].
    """
    if len(sums) < MIN_PROBLEMS:
        unknown = np.full(sums.shape[1], np.nan)
        return unknown, unknown
    # a draw without any row of a column has the ratio 0 / 1e-12: 0, as its sum is
    weights = bootstrap_weights(len(sums), draws, 0)
    ratios = np.concatenate([(w @ sums) / np.maximum(w @ counts, 1e-12) for w in weights])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(ratios, (tail, 1 - tail), axis=0)
    few = (counts > 0).sum(0) < MIN_PROBLEMS
    return np.where(few, np.nan, low), np.where(few, np.nan, high)
