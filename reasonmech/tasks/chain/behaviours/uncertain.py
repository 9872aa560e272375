"""uncertain: a hedge ("hmm , not sure ."). Lexical: it is recognised by its words and proves nothing."""

from __future__ import annotations

from typing import final

from reasonmech.behaviours.base import behaviours
from reasonmech.labels import Span
from reasonmech.rollout import Trace
from reasonmech.tasks.chain.behaviours.base import ChainBehaviour
from reasonmech.tasks.chain.sentence import ChainSentence, stating


@final
class UncertainBehaviour(ChainBehaviour):
    """Opportunity: any boundary after a value was stated. Never part of a claim about timing."""

    name = "uncertain"
    functional = False

    def is_one(self, sentence: ChainSentence) -> bool:
        return sentence.kind == "uncertain"

    def could_begin(self, previous: tuple[ChainSentence, ...], trace: Trace) -> bool:
        return stating(previous) is not None

    def verify(self, trace: Trace, span: Span) -> bool:
        """A hedge has no job that could be verified; its presence is all there is."""
        return span in self.spans(trace)


behaviours.register("uncertain")(UncertainBehaviour())
