"""step: a first value is established for the next subgoal."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import behaviours
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.chain.sentence import ChainSentence


@final
class StepBehaviour(ChainBehaviour):
    """Opportunity: a boundary before the answer with a subgoal still open. Verified by its value."""

    name = "step"

    def is_one(self, sentence: ChainSentence) -> bool:
        return sentence.relation == "establishes"

    def could_begin(self, previous: tuple[ChainSentence, ...], trace: Trace) -> bool:
        concluded = any(s.relation == "concludes" for s in previous)
        return (
            sum(map(self.is_one, previous)) < len(trace.rollout.problem.data["operations"]) and not concluded
        )


behaviours.register("step")(StepBehaviour())
