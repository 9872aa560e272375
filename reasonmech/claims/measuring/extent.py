"""Extent: how much is measured of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from reasonmech.door import checked
from reasonmech.ranges import Positive


@final
@checked
@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        n: problems.
        samples: rollouts per problem at T = 1.
        forced: onsets forced per behaviour and problem, in one text.
        fitting: other problems, on which the temperature is fitted.
        repeated: problems on which runs are repeated to see that they can be.
        max_new_tokens: after which a text is cut off.
        by_behaviour: whether the factorial is split by behaviour, and the leak curve drawn.
    """

    n: Positive
    samples: Positive = 1
    forced: Positive = 1
    fitting: Positive = 60
    repeated: Positive = 12
    max_new_tokens: Positive = 224
    by_behaviour: bool = False

    @classmethod
    @checked
    def of(cls, n: Positive, *, full: bool) -> Extent:
        """What `judge` measures of n problems; in full four samples each, and all that is never decisive."""
        return cls(n, samples=4, forced=4, by_behaviour=True) if full else cls(n)
