"""A tabular model: what a sampler makes a policy of, greedily or at a temperature, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.simulators.policy import OnsetPolicy, Skills, TabularPolicy, check_probabilities


@final
@checked
@dataclass(frozen=True)
class TemperedModel:
    """The decisions of another policy at a temperature: P(kind)^(1/T), normalised; at 0 the likeliest kind.

    Raises:
        DataError: a temperature below 0.
    """

    onset: OnsetPolicy
    temperature: float

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def table(self) -> Float[np.ndarray, "status left kind"]:
        """P(kind | status, whether items are left), in the order of `KINDS`."""
        return sharpen(self.onset.table(), self.temperature)


@final
@checked
@dataclass(frozen=True)
class TabularModel:
    """A reasoner before anybody samples from it: `at(temperature)` is the policy that a sampler makes of it.

    An execution is one word out of `digits`. A model gives the word that it takes for the most probable one
    probability `sure`, and the others share the rest; it is the right one in a share `known` of the cases.
    So a temperature moves what a model does with what it knows, and never what it knows.

    Attributes:
        onset: decisions at temperature 1.
        known: shares of sentences whose most probable word is the right one: the skills of greedy decoding.
        sure: probability of the most probable word at temperature 1.
        digits: words that there are; the world's.

    Raises:
        DataError: a probability outside [0, 1], `sure` below that of the other words, fewer than 2 words.
    """

    onset: OnsetPolicy
    known: Skills
    sure: float = 0.99
    digits: int = 10

    def __post_init__(self) -> None:
        check_probabilities(self, sure=self.sure)
        if self.digits < 2 or self.sure < 1 / self.digits:
            raise DataError(
                f"the most probable of {self.digits} words has probability {self.sure}",
                allowed="at least 2 words, and for the most probable one at least its share",
            )

    @checked
    def at(self, temperature: float) -> TabularPolicy:
        """The policy of sampling at this temperature; 0: greedy decoding.

        A sentence is carried out rightly with probability known sure + (1 - known) (1 - sure) / (digits - 1).

        Raises:
            DataError: a temperature below 0.
        """
        sure = self.sure_at(temperature)
        other = (1.0 - sure) / (self.digits - 1)
        known = self.known
        skills = (known.step, known.check, known.backtrack, known.conclude, known.guess)
        execution = Skills(*(share * sure + (1.0 - share) * other for share in skills))
        return TabularPolicy(TemperedModel(self.onset, temperature), execution)

    @checked
    def sure_at(self, temperature: float) -> float:
        """Probability of the most probable word at a temperature."""
        return float(self.word_at(temperature)[0])

    @checked
    def word_at(self, temperature: float) -> Float[np.ndarray, " digit"]:
        """Probabilities of the words of an execution, the most probable one first."""
        others = (1.0 - self.sure) / (self.digits - 1)
        return sharpen(np.array([self.sure, *[others] * (self.digits - 1)]), temperature)

    @checked
    def tempered(self, temperature: float) -> TabularModel:
        """The model whose temperature 1 is this one's `temperature`: the same argmax, sharper or flatter.

        Raises:
            DataError: a temperature of 0 or less.
        """
        if temperature <= 0:
            raise DataError(
                f"temperature {temperature}", allowed="above 0", do="use at(0) to decode greedily"
            )
        onset = TemperedModel(self.onset, temperature)
        return TabularModel(onset, self.known, self.sure_at(temperature), self.digits)


def _check_temperature(temperature: float) -> None:
    if not 0 <= temperature < np.inf:
        raise DataError(f"temperature {temperature}", allowed="0 (greedy) and above, finite")


def sharpen(p: Float[np.ndarray, "*row kind"], temperature: float) -> Float[np.ndarray, "*row kind"]:
    """p^(1/T), normalised along the last axis; one-hot at the first maximum for T = 0."""
    _check_temperature(temperature)
    if temperature == 0:
        return np.eye(p.shape[-1])[p.argmax(axis=-1)]
    # relative to the maximum, so that a low temperature underflows nowhere but at the others
    weights = (p / p.max(axis=-1, keepdims=True)) ** (1.0 / temperature)
    return weights / weights.sum(axis=-1, keepdims=True)
