"""Noise keyed by (seed, problem, sample, position, token): the same whatever the batch, the arm or the host.

Sampling by `argmax(logits / T + gumbel)` with this noise is exact sampling at temperature T. Because the
noise of a token depends on nothing but its key, a batch equals its rows run alone, and arms share common
random numbers.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reasonmech.splitmix import logical_shift, mix_tensor

_BELOW_ONE: Final = 1 - 2**-24


def row_key(seed: int, problem_id: str, sample: int) -> int:
    """Key of one rollout: 64 signed bits of BLAKE2b over (seed, problem id, sample)."""
    digest = hashlib.blake2b(f"{seed}\0{problem_id}\0{sample}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def gumbel(
    keys: Int[Tensor, " batch"], position: Int[Tensor, " batch"], vocab: int
) -> Float[Tensor, "batch vocab"]:
    """Standard Gumbel noise, float32, on the device of `keys`.

    Args:
        keys: `row_key` of each row.
        position: absolute, pad-free position of the token that is drawn.
        vocab: number of tokens.
    """
    token_keys = mix_tensor(keys ^ mix_tensor(position))
    bits = mix_tensor(token_keys[:, None] + _token_hashes(vocab, str(keys.device))[None, :])
    # float32 keeps its relative precision near 0, so the upper tail of the noise is exact to 53 bits
    uniform = (logical_shift(bits, 11).to(torch.float32) + 0.5).mul_(2.0**-53).clamp_(max=_BELOW_ONE)
    return uniform.neg_().log1p_().neg_().log_().neg_()


def uniform(
    keys: Int[Tensor, " batch"], count: Int[Tensor, " batch"], *, stream: str
) -> Float[Tensor, " batch"]:
    """Uniform numbers in [0, 1), float64: the `count`-th of each row in the stream of this name.

    Streams are independent of each other and of `gumbel`, so a decision drawn here leaves the tokens' noise
    alone.

    Args:
        keys: `row_key` of each row (CPU).
        count: which number of the stream, from 0.
        stream: name of what is drawn.
    """
    salt = hashlib.blake2b(stream.encode(), digest_size=8).digest()
    stream_keys = mix_tensor(keys ^ int.from_bytes(salt, "little", signed=True))
    return logical_shift(mix_tensor(stream_keys ^ mix_tensor(count)), 11).to(torch.float64) * 2.0**-53


@lru_cache(maxsize=8)
def _token_hashes(vocab: int, device: str) -> Int[Tensor, " vocab"]:
    return mix_tensor(torch.arange(vocab, device=device))
