"""Rows and groups of a frame, as frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


def rows_where(frame: pd.DataFrame, keep: ArrayLike) -> pd.DataFrame:
    """The rows at which `keep` is True."""
    return frame.take(np.flatnonzero(np.asarray(keep, dtype=bool)))


def groups(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    """Rows of each combination of the `by` columns, in order of appearance."""
    keys = list(zip(*(frame[name].astype(str) for name in by), strict=True))
    for key in dict.fromkeys(keys):
        yield key, rows_where(frame, [k == key for k in keys])
