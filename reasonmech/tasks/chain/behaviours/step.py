"""step: a first value is established for the next subgoal."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import behaviours, sentence_at
from reasonmech.labels import Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace, standing_values


@final
class StepBehaviour(ChainBehaviour):
    """Opportunity: a boundary before the answer with a subgoal still open.

    Verified when it carries out the problem's operation on the value that stands, and rightly.
    """

    name = "step"

    def is_one(self, sentence: ChainSentence) -> bool:
        return sentence.relation == "establishes"

    def could_begin(self, previous: tuple[ChainSentence, ...], trace: Trace) -> bool:
        concluded = any(s.relation == "concludes" for s in previous)
        return (
            sum(map(self.is_one, previous)) < len(trace.rollout.problem.data["operations"]) and not concluded
        )

    def verify(self, trace: Trace, span: Span) -> bool:
        chain = chain_trace(trace)
        i, sentence = sentence_at(chain, span)
        return sentence.correct is True and sentence.equation == _wanted(trace, chain.sentences[: i + 1])


def _wanted(trace: Trace, sentences: tuple[ChainSentence, ...]) -> str | None:
    """The equation that the last of these sentences ought to evaluate; None where it names no operation."""
    data, last = trace.rollout.problem.data, sentences[-1]
    if last.item is None or last.item >= len(data["operations"]):
        return None
    operator, operand = data["operations"][last.item]
    stands = {-1: data["start"], **standing_values(sentences)}
    return f"{stands.get(last.item - 1)} {operator} {operand}"


behaviours.register("step")(StepBehaviour())
