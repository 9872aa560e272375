"""A pair of tabular policies: the splice factorial and the dial, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final, get_args

import numpy as np
from jaxtyping import Float

from reasonmech.door import checked
from reasonmech.errors import UnknownNameError
from reasonmech.simulators.exact import accuracy
from reasonmech.simulators.policy import Mixture, TabularPolicy, mix_skills
from reasonmech.simulators.world import ReasonerWorld

Factor = Literal["onset", "executor", "both"]


class Factorial(NamedTuple):
    """Accuracies of the four splices, named onset-executor (b: base, t: thinking).

    WHEN = 1/2 [(tb - bb) + (tt - bt)], HOW = 1/2 [(bt - bb) + (tt - tb)]; they sum to tt - bb. These are the
    Shapley values of the two factors (Shapley 1953), as in the truth of the trained organisms.
    """

    bb: float
    bt: float
    tb: float
    tt: float

    @property
    def when(self) -> float:
        """Effect of the onsets, averaged over both executors."""
        return ((self.tb - self.bb) + (self.tt - self.bt)) / 2

    @property
    def how(self) -> float:
        """Effect of the execution, averaged over both onset policies."""
        return ((self.bt - self.bb) + (self.tt - self.tb)) / 2

    @property
    def total(self) -> float:
        """The gap: when + how."""
        return self.tt - self.bb


@final
@dataclass(frozen=True)
class TabularPair:
    """A base and a thinking policy in one world."""

    base: TabularPolicy
    thinking: TabularPolicy

    @checked
    def spliced(self, *, onset: float, executor: float) -> TabularPolicy:
        """The policy that decides, and executes, as the thinking one with these probabilities.

        (0, 0) is the base, (1, 1) the thinking policy, (1, 0) thinking onsets on the base's execution.

        Raises:
            DataError: a share is not within [0, 1].
        """
        return TabularPolicy(
            Mixture(self.base.onset, self.thinking.onset, onset),
            mix_skills(self.base.execution, self.thinking.execution, share=executor),
        )

    def factorial(self, world: ReasonerWorld) -> Factorial:
        """The exact accuracies of the four cells."""
        cells = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
        return Factorial(*(accuracy(self.spliced(onset=o, executor=e), world) for o, e in cells))

    @checked
    def dial(
        self, world: ReasonerWorld, *, shares: Sequence[float], factor: Factor = "onset"
    ) -> Float[np.ndarray, " share"]:
        """Exact accuracy while one factor, or both, is turned from the base (0) to the thinking policy (1).

        The other factor stays the base's.

        Raises:
            UnknownNameError: a factor that does not exist.
            DataError: a share is not within [0, 1].
        """
        if factor not in get_args(Factor):
            raise UnknownNameError("factor", factor, get_args(Factor))
        onset, executor = factor in ("onset", "both"), factor in ("executor", "both")
        return np.array(
            [accuracy(self.spliced(onset=s * onset, executor=s * executor), world) for s in shares]
        )
