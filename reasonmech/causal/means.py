"""mean_by: means over problems with paired bootstrap intervals, for every cell of a table at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from reasonmech.stats import DRAWS, LEVEL, bootstrap_weights

TAILS: Final = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
CELLS_AT_ONCE: Final = 512
NO_INTERVAL: Final = (np.nan, np.nan)


def mean_by(
    table: pd.DataFrame,
    keys: Sequence[str],
    *,
    columns: Sequence[str],
    ratios: Mapping[str, tuple[str, str]],
    seed: int = 0,
) -> pd.DataFrame:
    """One row per combination of `keys`: means over problems, 95 % intervals as `stats.paired_bootstrap`.

    Texts of one problem are averaged first; a single problem has no interval: its ends are NaN.

    Args:
        table: columns `problem`, `keys`, `columns`, and those that `ratios` name.
        columns: x becomes x, x_low, x_high.
        ratios: name -> (numerator, denominator): the ratio of the two means, unbounded (infinite ends) where
            the interval of the denominator covers 0, NaN where the denominator is 0; as `stats.recovery`.
    """
    numbers = list(dict.fromkeys([*columns, *(name for pair in ratios.values() for name in pair)]))
    row_keys = list(zip(*(table[key] for key in keys), strict=True))
    cells = {key: number for number, key in enumerate(dict.fromkeys(row_keys))}
    mean, known = _per_problem(table, np.array([cells[key] for key in row_keys]), numbers)
    estimates: list[dict[str, float]] = [{} for _ in cells]
    for batch in _with_same_problems(known):
        values = mean[batch][:, known[batch[0]]]  # [cell, problem, number]
        for cell, value, draws in zip(batch, values, _resampled_means(values, seed), strict=True):
            estimates[cell] = {"n_problems": len(value)} | _row(value, draws, numbers, columns, ratios)
    rows = [dict(zip(keys, key, strict=True)) | row for key, row in zip(cells, estimates, strict=True)]
    return pd.DataFrame(rows).astype({key: table[key].dtype for key in keys})


def _per_problem(
    table: pd.DataFrame, cell: np.ndarray, numbers: Sequence[str]
) -> tuple[Float[np.ndarray, "cell problem number"], Bool[np.ndarray, "cell problem"]]:
    """Mean over a problem's texts in every cell, and whether the cell has the problem at all."""
    problems, problem = np.unique(table["problem"].to_numpy(dtype=str), return_inverse=True)
    n_cells, n = int(cell.max()) + 1, len(problems)
    at = cell * n + problem
    counts = np.bincount(at, minlength=n_cells * n)
    sums = [np.bincount(at, table[name].to_numpy(np.float64), minlength=n_cells * n) for name in numbers]
    mean = np.stack(sums, axis=-1) / np.maximum(counts, 1)[:, None]
    return mean.reshape(n_cells, n, len(numbers)), (counts > 0).reshape(n_cells, n)


def _with_same_problems(known: Bool[np.ndarray, "cell problem"]) -> list[list[int]]:
    """Cells that have the same problems, some hundreds at a time: one set of draws serves them all."""
    groups: dict[bytes, list[int]] = {}
    for cell, problems in enumerate(known):
        groups.setdefault(problems.tobytes(), []).append(cell)
    return [
        cells[i : i + CELLS_AT_ONCE] for cells in groups.values() for i in range(0, len(cells), CELLS_AT_ONCE)
    ]


def _resampled_means(
    values: Float[np.ndarray, "cell problem number"], seed: int
) -> Float[np.ndarray, "cell draw number"]:
    """Means over resampled problems; every cell meets the same draws."""
    n_cells, n, n_numbers = values.shape
    flat = values.transpose(1, 0, 2).reshape(n, -1)
    means = np.concatenate([weights @ flat / n for weights in bootstrap_weights(n, DRAWS, seed)])
    return means.reshape(-1, n_cells, n_numbers).transpose(1, 0, 2)


def _row(
    value: Float[np.ndarray, "problem number"],
    draws: Float[np.ndarray, "draw number"],
    numbers: Sequence[str],
    columns: Sequence[str],
    ratios: Mapping[str, tuple[str, str]],
) -> dict[str, float]:
    """Estimates and interval ends of one cell."""
    at = {name: i for i, name in enumerate(numbers)}
    mean, alone, row = value.mean(0), len(value) < 2, {}
    for name in columns:
        row |= _estimate(name, mean[at[name]], NO_INTERVAL if alone else _tails(draws[:, at[name]]))
    for name, (top, bottom) in ratios.items():
        ends = NO_INTERVAL if alone else _tails(draws[:, at[bottom]])
        # where the denominator may be 0 the ratio has no bound, however narrow its draws look
        if ends[0] <= 0 <= ends[1]:
            ends = (-np.inf, np.inf)
        elif not alone:
            ends = _tails(draws[:, at[top]] / draws[:, at[bottom]])
        row |= _estimate(name, mean[at[top]] / mean[at[bottom]] if mean[at[bottom]] != 0 else np.nan, ends)
    return row


def _tails(draws: Float[np.ndarray, " draw"]) -> tuple[float, float]:
    low, high = np.quantile(draws, TAILS)
    return float(low), float(high)


def _estimate(name: str, value: float, ends: tuple[float, float]) -> dict[str, float]:
    return {name: float(value), f"{name}_low": ends[0], f"{name}_high": ends[1]}
