"""conclude: the answer is stated."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import behaviours, sentence_at
from reasonmech.labels import Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace


@final
class ConcludeBehaviour(ChainBehaviour):
    """Opportunity: every boundary before the answer. Verified when the answer is right."""

    name = "conclude"

    def is_one(self, sentence: ChainSentence) -> bool:
        return sentence.relation == "concludes"

    def could_begin(self, previous: tuple[ChainSentence, ...], trace: Trace) -> bool:
        return not any(map(self.is_one, previous))

    def verify(self, trace: Trace, span: Span) -> bool:
        return str(sentence_at(chain_trace(trace), span)[1].value) == trace.rollout.problem.answer


behaviours.register("conclude")(ConcludeBehaviour())
