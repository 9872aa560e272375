"""What one attempt to refute a feature came to, with its numbers; and the protocol of an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.stats import Interval

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder

Outcome = Literal["survives", "refuted", "undecided"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("survives", "refuted", "undecided")


class Candidates(NamedTuple):
    """The features that are attacked.

    Attributes:
        features: indices in the coder.
        mean_active: [feature] mean activation where each fires in the text it was found in, activation units.
    """

    features: tuple[int, ...]
    mean_active: Float[np.ndarray, " feature"]


class AttemptFinding(NamedTuple):
    """What one attempt says of one feature.

    Attributes:
        feature: index in the coder.
        attempt: what was tried.
        outcome: "refuted" where the attempt explains the feature without the behaviour, "undecided" where its
            interval allows both.
        reason: in words, with its numbers.
        statistic, value, low, high, unit: the number that decided, with its 95 % interval by problem.
    """

    feature: int
    attempt: str
    outcome: Outcome
    reason: str
    statistic: str
    value: float
    low: float
    high: float
    unit: str


@runtime_checkable
class Attempt(Protocol):
    """One way to refute that a feature is about its behaviour."""

    @property
    def name(self) -> str: ...

    def findings(self, coder: SparseCoder, candidates: Candidates) -> list[AttemptFinding]:
        """One finding or more per candidate."""
        ...


def outcome_above(interval: Interval, floor: float) -> Outcome:
    """Survives where the whole interval lies above a floor, is refuted where none of it does."""
    return "survives" if interval.low > floor else "refuted" if interval.high <= floor else "undecided"


@torch.no_grad()
def read_features(
    coder: SparseCoder, x: Float[Tensor, "row d_in"], features: Sequence[int]
) -> Float[np.ndarray, "row feature"]:
    """Activations of some features, as float64 on the CPU."""
    return coder.read(x.to(coder.device, coder.dtype), features).double().cpu().numpy()
