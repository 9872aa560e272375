"""Codes: feature activations of labelled rows as one compressed matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from torch import Tensor, no_grad

from reasonmech.errors import NonFiniteError

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder

CELLS = 2**24  # activations encoded at once: 64 MB in float32


class Firing(NamedTuple):
    """How every feature fires on some rows.

    Attributes:
        rate: [feature] share of rows on which it fires.
        mean_active: [feature] mean activation where it fires, 0 where it never does; activation units.
    """

    rate: np.ndarray
    mean_active: np.ndarray


@dataclass(frozen=True, eq=False)
class Codes:
    """Activations [row, feature], of which only the non-zero entries are kept, feature by feature.

    Attributes:
        matrix: scipy `csc_array` [row, feature], in activation units.
    """

    matrix: Any  # scipy's annotations hold shapes and products to be optional

    @classmethod
    def of(cls, activations: ArrayLike) -> Codes:
        """Codes of a dense array [row, feature]."""
        return cls(sparse.csc_array(np.asarray(activations)))

    @property
    def n_rows(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def n_features(self) -> int:
        return int(self.matrix.shape[1])

    @property
    def rows(self) -> np.ndarray:
        """[entry] row of each non-zero entry."""
        return self.matrix.indices

    @property
    def values(self) -> np.ndarray:
        """[entry] activation."""
        return self.matrix.data

    @property
    def starts(self) -> np.ndarray:
        """[feature + 1] first entry of each feature."""
        return self.matrix.indptr

    @cached_property
    def features(self) -> np.ndarray:
        """[entry] feature."""
        return np.repeat(np.arange(self.n_features), np.diff(self.starts))

    @cached_property
    def rate(self) -> np.ndarray:
        """[feature] share of rows on which it fires."""
        return np.diff(self.starts) / self.n_rows

    @cached_property
    def mean_active(self) -> np.ndarray:
        """[feature] mean activation where it fires, 0 where it never does."""
        counts = np.diff(self.starts)
        sums = np.bincount(self.features, self.values, self.n_features)
        return np.divide(sums, counts, out=np.zeros(self.n_features), where=counts > 0)

    def column(self, feature: int) -> np.ndarray:
        """[row] activations of one feature."""
        dense = np.zeros(self.n_rows)
        entries = slice(self.starts[feature], self.starts[feature + 1])
        dense[self.rows[entries]] = self.values[entries]
        return dense

    @property
    def firing(self) -> Firing:
        """How every feature fires on these rows."""
        return Firing(self.rate, self.mean_active)

    def take_rows(self, rows: np.ndarray) -> Codes:
        """Codes of some rows: a mask [row], or row numbers."""
        return Codes(self.matrix[np.flatnonzero(rows) if rows.dtype == bool else rows])

    def take_features(self, columns: slice) -> Codes:
        """Codes of a range of features."""
        return Codes(self.matrix[:, columns])

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        """[column, feature]: sum over rows of weights [row, column] times activation."""
        return np.asarray(self.matrix.T @ weights).T

    def by_group(self, weights: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
        """[feature, group]: sum over a group's rows of weights [row] times activation."""
        cells = self.features * n_groups + group[self.rows]
        summed = np.bincount(cells, weights[self.rows] * self.values, self.n_features * n_groups)
        return summed.reshape(self.n_features, n_groups)

    def groups_touched(self, group: np.ndarray, n_groups: int) -> np.ndarray:
        """[feature] number of groups in which it fires at all."""
        cells = np.unique(self.features * n_groups + group[self.rows])
        return np.bincount(cells // n_groups, minlength=self.n_features)


@no_grad()
def encode_rows(coder: SparseCoder, x: Tensor) -> Codes:
    """Feature activations of x [row, d_model]: encoded in chunks on the coder's device, float32 on the CPU.

    Raises:
        NonFiniteError: the coder makes NaN or infinity of some row.
    """
    step = max(1, CELLS // coder.d_sae)
    chunks = [
        sparse.csr_array(coder.encode(x[start : start + step].to(coder.device)).float().cpu().numpy())
        for start in range(0, len(x), step)
    ]
    codes = Codes(sparse.csc_array(sparse.vstack(chunks)))
    if not (finite := np.isfinite(codes.values)).all():
        entry = int(np.flatnonzero(~finite)[0])
        raise NonFiniteError(
            f"{int((~finite).sum())} activations of coder {coder.name!r} are NaN or infinite, the first is "
            "feature "
            f"{codes.features[entry]} at row {codes.rows[entry]} of {len(x)}",
            do="load the coder, or capture, in a wider dtype",
        )
    return codes
