"""Footprint: what a pair needs of a GPU, by arithmetic, before anything is downloaded."""

from __future__ import annotations

from typing import Final, NamedTuple

from reasonmech.door import checked
from reasonmech.ranges import Positive

_BYTES: Final = 2  # of a weight in bfloat16
BANDWIDTH: Final = 2e12  # bytes per second that an A100 80 GB reads of its memory; an H100 reads 3.35e12
ROOM: Final = 1.25  # weights are not all: keys and values, logits, activations


class Footprint(NamedTuple):
    """What two models of a size need.

    Attributes:
        weights_gb: both models in bfloat16, in 10^9 bytes.
        memory_gb: with a quarter of room for keys and values, logits and activations.
        hours: no less than this for one arm: every step of decoding reads all weights of one model once
            (Pope et al. 2022, arXiv 2211.05102), whatever else it does.
    """

    weights_gb: float
    memory_gb: float
    hours: float


@checked
def footprint_of(
    parameters: float, *, problems: Positive = 300, new_tokens: Positive = 4096, batch_size: Positive = 64
) -> Footprint:
    """Of a pair whose models have so many billions of parameters each.

    Args:
        problems, new_tokens, batch_size: of one arm, for `hours`.
    """
    one = parameters * 1e9 * _BYTES
    steps = -(-problems // batch_size) * new_tokens
    return Footprint(2 * one / 1e9, ROOM * 2 * one / 1e9, steps * one / BANDWIDTH / 3600)
