"""plan: a count of subgoals is announced at the start, and later met."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import behaviours, sentence_at
from reasonmech.labels import Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace


@final
class PlanBehaviour(ChainBehaviour):
    """Opportunity: the start. Verified when exactly as many subgoals follow as were announced."""

    name = "plan"

    def is_one(self, sentence: ChainSentence) -> bool:
        return sentence.kind == "plan"

    def could_begin(self, previous: tuple[ChainSentence, ...], trace: Trace) -> bool:
        return not previous

    def verify(self, trace: Trace, span: Span) -> bool:
        chain = chain_trace(trace)
        i, _ = sentence_at(chain, span)
        announced = [int(word) for word in trace.words[span.start : span.stop] if word.isdecimal()]
        return announced == [sum(s.relation == "establishes" for s in chain.sentences[i + 1 :])]


behaviours.register("plan")(PlanBehaviour())
