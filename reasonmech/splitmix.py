"""SplitMix64: 64 bits to 64 mixed bits, the same of numpy arrays and of torch tensors.

Both functions are one step of the generator of Steele, Lea and Flood (2014): output `i` of the stream that
begins at `seed` is `mix(seed + i * GOLDEN)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Int64, UInt64

if TYPE_CHECKING:
    from torch import Tensor

GOLDEN: Final = 0x9E3779B97F4A7C15
_MULTIPLIERS: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def mix_array(x: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """First SplitMix64 output of the stream that begins at each number."""
    first, second = map(np.uint64, _MULTIPLIERS)
    with np.errstate(over="ignore"):  # numpy warns of scalars that wrap; arithmetic modulo 2^64 is meant
        z = x + np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * first
        z = (z ^ (z >> np.uint64(27))) * second
        return z ^ (z >> np.uint64(31))


def mix_tensor(x: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """First SplitMix64 output of the stream that begins at each number, as signed 64 bits."""
    # torch has no arithmetic on uint64; in two's complement sums and products have the same bits
    golden, first, second = (constant - 2**64 for constant in (GOLDEN, *_MULTIPLIERS))
    z = (
        x + golden
    )  # a new tensor, and the only one that stays: noise mixes one number per token of a vocabulary
    z.bitwise_xor_(logical_shift(z, 30)).mul_(first)
    z.bitwise_xor_(logical_shift(z, 27)).mul_(second)
    return z.bitwise_xor_(logical_shift(z, 31))


def logical_shift(x: Int64[Tensor, "*shape"], n: int) -> Int64[Tensor, "*shape"]:
    """Right shift that fills up with zeros: torch has only the one that repeats the sign."""
    return (x >> n).bitwise_and_((1 << (64 - n)) - 1)
