"""Replicates: independent draws of anything that takes a seed, and how often something is true of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from tqdm.auto import tqdm

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.ranges import Seed
from reasonmech.stats import Interval, clopper_pearson

T = TypeVar("T")


@checked
def replicates(draw: Callable[[int], T], *, n: int, seed: Seed = 0, progress: bool = True) -> Iterator[T]:
    """`draw(seed_0), draw(seed_1), ...`: n independent draws. Seed i depends on (seed, i) alone.

    Raises:
        DataError: n < 1.
    """
    if n < 1:
        raise DataError(f"{n} replicates", allowed="n >= 1", do="draw at least one")
    for i in tqdm(range(n), desc="replicates", unit="draw", delay=1.0, disable=not progress):
        yield draw(int(np.random.SeedSequence([seed, i]).generate_state(1, np.uint64)[0] >> np.uint64(1)))


@checked
def share_of(event: Callable[[int], bool], *, n: int, seed: Seed = 0, progress: bool = True) -> Interval:
    """How often an event happens over n replicates, with its exact (Clopper-Pearson) 95 % interval.

    The coverage of an interval is the share of `interval(seed).covers(truth)`, the false-positive rate of a
    test that of `p(seed) < alpha` where nothing is there.

    Raises:
        DataError: n < 1.
    """
    return clopper_pearson(sum(map(bool, replicates(event, n=n, seed=seed, progress=progress))), n)
