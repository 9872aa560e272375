"""Sparse codes: feature activations of labelled rows as one compressed matrix."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from torch import Tensor, no_grad

from reasonmech.coders import SparseCoder

CELLS = 2**24  # activations encoded at once: 64 MB in float32


@no_grad()
def encode_rows(coder: SparseCoder, x: Tensor) -> sparse.csc_array:
    """Feature activations [row, feature] of x [row, d_model], encoded in chunks and kept sparse (float32)."""
    step = max(1, CELLS // coder.d_sae)
    chunks = [
        sparse.csr_array(coder.encode(x[start : start + step]).float().cpu().numpy())
        for start in range(0, len(x), step)
    ]
    return sparse.csc_array(sparse.vstack(chunks, format="csc"))


def column(codes: sparse.csc_array, feature: int) -> np.ndarray:
    """Activations [row] of one feature."""
    return codes[:, [feature]].toarray().ravel()


def firing(codes: sparse.csc_array) -> tuple[np.ndarray, np.ndarray]:
    """Share of rows on which each feature fires, and its mean activation there (0 where it never fires)."""
    counts = np.diff(codes.indptr)
    sums = np.asarray(codes.sum(axis=0)).ravel()
    return counts / codes.shape[0], np.divide(sums, counts, out=np.zeros(len(sums)), where=counts > 0)
