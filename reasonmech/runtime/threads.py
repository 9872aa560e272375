"""How many threads are computed with: one, where more would only wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from threadpoolctl import threadpool_limits

from reasonmech.hosts import ModelPair

SMALL: Final = 20_000_000  # parameters of the larger model
"""Of a model below it a matrix is multiplied sooner than threads are woken. Measured on the demo (0.9 M
parameters, 2 cores): 294 s of wall time with two threads, for 545 s of computing. A rule of the size, and not
of a clock: numbers do not depend on how busy the machine was.
"""


def threads_for(pair: ModelPair) -> int:
    """Threads of torch for a pair: one where both models are small and on the CPU; else as set."""
    hosts = (pair.base, pair.thinking)
    largest = max(sum(p.numel() for p in host.model.parameters()) for host in hosts)
    if largest < SMALL and all(host.device.type == "cpu" for host in hosts):
        return 1
    return torch.get_num_threads()


@contextmanager
def threads_of(pair: ModelPair) -> Iterator[None]:
    """Inside the block there are as many threads as the pair needs, whoever called."""
    with using_threads(threads_for(pair)):
        yield


@contextmanager
def using_threads(n: int) -> Iterator[None]:
    """Inside the block torch computes with `n` threads, and numpy's BLAS with no more than `n`."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(n, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
