"""Stream: labelled rows of a store, read and encoded a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from scipy import sparse
from torch import Tensor, isfinite

from reasonmech.errors import MismatchError, NonFiniteError
from reasonmech.labels import Labels
from reasonmech.locate.rows.codes import Codes, encode_rows
from reasonmech.locate.rows.sample import rows_of
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder
    from reasonmech.runtime.activations.activations import Activations

CELLS: Final = 2**24  # numbers of the residual stream in memory at once: 64 MB in float32


class Chunk(NamedTuple):
    """Neighbouring labelled rows: which, and what the site held there, [row, d_model] in float32."""

    rows: slice
    x: Tensor


def check_coder(coder: SparseCoder, host_hash: str) -> None:
    """Refuse activations of another model than the coder's.

    Raises:
        MismatchError: both are known, and differ.
    """
    if coder.model_hash is not None and coder.model_hash != host_hash:
        raise MismatchError(
            f"coder {coder.name!r} was trained on weights {coder.model_hash[:12]}, the activations come from "
            f"{host_hash[:12]}",
            allowed="activations of the model that the coder was trained on",
            do="capture from that model, or train a coder on these activations",
        )


def check_match(acts: Activations, labels: Labels, coder: SparseCoder) -> None:
    """Raise MismatchError unless coder, activations and labels belong together.

    Labels must have been made from the captured rollouts: at every labelled rollout both name the same
    problem.
    """
    check_coder(coder, acts.host_hash)
    check_labels(acts, labels)


def check_labels(acts: Activations, labels: Labels) -> None:
    """Raise MismatchError unless the labels name, at every labelled rollout, the problem that was captured
    there."""
    captured = acts.index.drop_duplicates("rollout").set_index("rollout")["problem"].astype(str)
    rollouts, first = np.unique(labels.rollout, return_index=True)
    said, here = labels.problem[first].astype(str), captured.reindex(rollouts)
    differs = np.flatnonzero(here.notna().to_numpy() & (here.to_numpy() != said))
    if len(differs):
        i = differs[0]
        raise MismatchError(
            f"labels of {labels.behaviour!r} say that rollout {rollouts[i]} is of problem {str(said[i])!r}, "
            "the "
            f"captured one is of {here.iloc[i]!r}: they were made from other rollouts, or in another order",
            do="label the rollouts that were captured",
        )


def chunks(acts: Activations, labels: Labels, site: Site) -> Iterator[Chunk]:
    """All labelled rows in their order, a bounded number at a time.

    Raises:
        DataError: a label points at what was not captured. NonFiniteError: NaN or infinite activations.
    """
    start, step = 0, 1024
    while start < len(labels):
        rows = slice(start, min(start + step, len(labels)))
        some = rows_of(labels, rows)
        x = acts.rows(site, some).float()
        if not (finite := isfinite(x).all(1).numpy()).all():
            bad = int(np.flatnonzero(~finite)[0])
            raise NonFiniteError(
                f"labelled rows at {site} are NaN or infinite, the first is row {rows.start + bad}, in "
                "problem "
                f"{str(some.problem[bad])!r} at position {some.position[bad]}",
                do="capture in a wider dtype, or leave the problem out",
            )
        yield Chunk(rows, x)
        start, step = rows.stop, max(1, CELLS // x.shape[1])


def encode(acts: Activations, labels: Labels, coder: SparseCoder) -> Codes:
    """Codes of all labelled rows. In memory at once: the codes that are not zero, and one chunk of the
    stream.

    A store of codes gives those it kept, of this very coder.

    Raises:
        MismatchError: coder, activations and labels do not belong together, the widths differ, or the store
            kept the codes of another coder.
    """
    check_match(acts, labels, coder)
    if acts.codes_of is not None:
        return _kept(acts, labels, coder)
    parts = []
    for _, x in chunks(acts, labels, coder.site):
        if x.shape[1] != coder.d_in:
            raise MismatchError(f"activations are {x.shape[1]} wide, coder {coder.name!r} reads {coder.d_in}")
        parts.append(sparse.csr_array(encode_rows(coder, x).matrix))
    return Codes(sparse.csc_array(sparse.vstack(parts)))


def _kept(acts: Activations, labels: Labels, coder: SparseCoder) -> Codes:
    of = acts.codes_of
    if of is None or of.coder_hash != coder.weight_hash:
        raise MismatchError(
            f"the store kept features of {None if of is None else of.coder!r}, not of {coder.name!r}",
            allowed="the coder whose features were kept, unchanged",
            do="search with that coder, or capture the stream",
        )
    which, values = acts.codes(tokens=acts.rows_of(labels))
    row, at = (which >= 0).nonzero(as_tuple=True)
    entries = values[row, at].float().numpy(), (row.numpy(), which[row, at].long().numpy())
    return Codes(sparse.csc_array(entries, shape=(len(labels), coder.d_sae)))


def project(acts: Activations, labels: Labels, site: Site, vectors: np.ndarray) -> np.ndarray:
    """[row, vector] inner products of the stream with vectors [d_model, vector]."""
    return np.concatenate([x.numpy() @ vectors for _, x in chunks(acts, labels, site)])


def sample_rows(acts: Activations, labels: Labels, site: Site, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Which of `rows` [n] a vector is fitted on: all of them, or as many at random as `CELLS` numbers hold,
    in order.

    Raises:
        DataError: as `chunks`.
    """
    width = next(chunks(acts, rows_of(labels, rows[:1]), site)).x.shape[1]
    most = max(1, CELLS // width)
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([seed, 2]).choice(rows, most, replace=False))
