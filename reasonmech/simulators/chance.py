"""Chance that belongs to a key: a number in [0, 1) that depends on nothing but its key."""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Float, Int, UInt64

from reasonmech.splitmix import GOLDEN, mix_array


def row_keys(
    seed: int, stream: str, *, problems: int, samples: int = 1
) -> UInt64[np.ndarray, "problem sample"]:
    """One key per row, of (seed, stream, problem, sample): more problems or samples change no other key."""
    digest = hashlib.blake2b(f"{seed}|{stream}".encode(), digest_size=8).digest()
    root = np.full((), int.from_bytes(digest), dtype=np.uint64)
    return _child(_child(root[None, None], np.arange(problems)[:, None]), np.arange(samples)[None, :])


def draw(keys: UInt64[np.ndarray, "*row"], index: int | Int[np.ndarray, "*row"]) -> Float[np.ndarray, "*row"]:
    """The `index`-th uniform number in [0, 1) of each key."""
    # The upper 53 bits: as many as a float64 has, so every value is exact and 1 is never reached.
    return (_child(keys, np.asarray(index)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _child(keys: np.ndarray, index: np.ndarray) -> UInt64[np.ndarray, "*row"]:
    """Element `index` of the SplitMix64 stream that begins at each key (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        return mix_array(keys + np.uint64(GOLDEN) * index.astype(np.uint64))
