"""Stream: labelled rows of a store, read and encoded a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from scipy import sparse
from torch import Tensor, isfinite

from reasonmech.errors import MismatchError, NonFiniteError
from reasonmech.labels import Labels
from reasonmech.locate.rows.checks import check_match
from reasonmech.locate.rows.codes import Codes, encode_rows
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations

CELLS: Final = 2**24  # numbers of the residual stream in memory at once: 64 MB in float32


class Chunk(NamedTuple):
    """Neighbouring labelled rows: which, and what the site held there, [row, d_model] in float32."""

    rows: slice
    x: Tensor


def chunks(acts: Activations, labels: Labels, site: Site) -> Iterator[Chunk]:
    """All labelled rows in their order, a bounded number at a time.

    Raises:
        DataError: a label points at what was not captured. NonFiniteError: NaN or infinite activations.
    """
    start, step = 0, 1024  # the first chunk is small: only its activations tell how wide the site is
    while start < len(labels):
        rows = slice(start, min(start + step, len(labels)))
        batch = labels.take(rows)
        x = acts.rows(site, batch).float()
        if not (finite := isfinite(x).all(1).numpy()).all():
            bad = int(np.flatnonzero(~finite)[0])
            raise NonFiniteError(
                f"labelled rows at {site} are NaN or infinite, the first is row {rows.start + bad}, in "
                f"problem {str(batch.problem[bad])!r} at position {batch.position[bad]}",
                do="capture in a wider dtype, or leave the problem out",
            )
        yield Chunk(rows, x)
        start, step = rows.stop, max(1, CELLS // x.shape[1])


def encode(acts: Activations, labels: Labels, coder: SparseCoder) -> Codes:
    """Codes of all labelled rows; in memory are those that are not zero, and one chunk of the stream.

    A store of codes gives those it kept, of this very coder.

    Raises:
        MismatchError: coder, activations and labels do not belong together, the widths differ, or the store
            kept the codes of another coder.
    """
    check_match(acts, labels, coder)
    if acts.codes_of is not None:
        return _stored_codes(acts, labels, coder)
    parts = []
    for _, x in chunks(acts, labels, coder.site):
        if x.shape[1] != coder.d_in:
            raise MismatchError(f"activations are {x.shape[1]} wide, coder {coder.name!r} reads {coder.d_in}")
        parts.append(sparse.csr_array(encode_rows(coder, x).matrix))
    return Codes(sparse.csc_array(sparse.vstack(parts)))


def _stored_codes(acts: Activations, labels: Labels, coder: SparseCoder) -> Codes:
    origin = acts.codes_of
    if origin is None or origin.coder_hash != coder.weight_hash:
        raise MismatchError(
            f"the store kept features of {None if origin is None else origin.coder!r}, not of {coder.name!r}",
            allowed="the coder whose features were kept, unchanged",
            do="search with that coder, or capture the stream",
        )
    which, values = acts.codes(tokens=acts.rows_of(labels))
    row, rank = (which >= 0).nonzero(as_tuple=True)  # -1 fills up a token at which fewer features fire
    entries = values[row, rank].float().numpy(), (row.numpy(), which[row, rank].long().numpy())
    return Codes(sparse.csc_array(entries, shape=(len(labels), coder.d_sae)))


def project(acts: Activations, labels: Labels, site: Site, vectors: np.ndarray) -> np.ndarray:
    """[row, vector] inner products of the stream with vectors [d_model, vector]."""
    return np.concatenate([x.numpy() @ vectors for _, x in chunks(acts, labels, site)])


def sample_rows(acts: Activations, labels: Labels, site: Site, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Which of `rows` [n] a vector is fitted on: all, or as many at random as `CELLS` numbers hold; sorted.

    Raises:
        DataError: as `chunks`.
    """
    width = next(chunks(acts, labels.take(rows[:1]), site)).x.shape[1]
    limit = max(1, CELLS // width)
    if len(rows) <= limit:
        return rows
    return np.sort(np.random.default_rng([seed, 2]).choice(rows, limit, replace=False))
