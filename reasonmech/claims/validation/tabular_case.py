"""A case: two tabular models in a world, and how the instrument that measures them may be flawed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from reasonmech.simulators import ReasonerWorld, Skills, TabularModel, TabularPolicy, mix_skills

ROOM = 2
"""The models' room, in multiples of the world's, where length is not to count."""


@final
@dataclass(frozen=True)
class TabularCase:
    """A pair whose truth is known, with what belongs to a measurement of it.

    Attributes:
        base, thinking: what is decoded greedily, and sampled at T = 1.
        canonical: splices state every answer in the form that counts; else as their executor does.
        leak: share of the thinking model's execution that its onsets hand to the base in a splice, as an
            onset that carries the answer would. It is a flaw of the splice, and no part of the truth.
        wording: share of words that only the wording decides, and whose most probable value differs.
        words: tokens of a sentence that neither model has any doubt about.
        constant: share of problems that have the most frequent answer: what guessing reaches.
        fault: the check of integrity that the measurement fails, one of `simulated_checks.FAULTS`; "": none.
    """

    base: TabularModel
    thinking: TabularModel
    world: ReasonerWorld
    canonical: bool = False
    leak: float = 0.0
    wording: float = 0.0
    words: int = 6
    constant: float = 0.1
    fault: str = ""

    @property
    def is_one_model(self) -> bool:
        """Whether both models are the same."""
        return self.base == self.thinking

    @property
    def roomy(self) -> ReasonerWorld:
        """The world, with more room for a text."""
        return replace(self.world, max_sentences=ROOM * self.world.max_sentences)

    def splice(self, cell: str, temperature: float, *, leak: float | None = None) -> TabularPolicy:
        """The policy of a cell of the factorial ("tb": thinking onsets, executed by the base).

        Args:
            temperature: 0: greedy.
            leak: None: that of the measurement; 0 for the truth.
        """
        policies = {"b": self.base.at(temperature), "t": self.thinking.at(temperature)}
        onset, executor = cell
        execution = self._stated(policies[executor].execution)
        handed = self.leak if leak is None else leak
        if cell == "tb" and handed:
            execution = mix_skills(execution, self._stated(policies["t"].execution), share=handed)
        return TabularPolicy(policies[onset].onset, execution)

    def _stated(self, skills: Skills) -> Skills:
        return replace(skills, conclude=1.0) if self.canonical else skills
